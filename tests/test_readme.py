"""The README says what is so: its commands run as written, its figures are those of the records, and it is short."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import win_rates_figure
from generated import filled, seeds
from support.readme import README, ROOT, blocks

if TYPE_CHECKING:
    from pathlib import Path

PAGE = README.read_text(encoding="utf-8")
SET_UP = "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt "
MAIN_JOB = SET_UP + ". ./plugins/dragon-reward-musicnn && .venv/bin/dragon bench\n"
TESTS = SET_UP + '".[test]" && .venv/bin/pytest\n'
LONGEST = 8192  # bytes: a front door, not a house
MADE = (
    "clips/prompts.csv",
    "tuned/prompts.csv",
    "runs/airs/adapter_model.safetensors",
    "runs/mixed/metrics.csv",
)


@pytest.mark.slow
def test_the_tour_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    for block in blocks(PAGE):
        block.follow(tmp_path)
    assert [path for path in MADE if not (tmp_path / path).is_file()] == []


def test_it_is_short() -> None:
    assert len(PAGE.encode()) <= LONGEST


def test_the_two_commands_are_single_lines_that_share_their_set_up() -> None:
    set_up = [block.text for block in blocks(PAGE) if "-m venv" in block.text]
    assert set_up == [MAIN_JOB, TESTS]


def test_ci_runs_the_test_command_word_for_word() -> None:
    assert TESTS in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines(keepends=True)


def test_generated_blocks_are_in_sync() -> None:
    assert filled(PAGE) == PAGE, "run: python docs/scripts/generated.py"


def test_the_picture_is_of_the_record() -> None:
    drawn = win_rates_figure.figure(seeds())
    assert win_rates_figure.FIGURE.read_text(encoding="utf-8") == drawn, "run: python docs/scripts/win_rates_figure.py"


def test_the_words_under_the_picture_are_of_the_record() -> None:
    rates = 100 * seeds()["win_rate"]
    assert len(rates) == 20
    assert f"they lie between {rates.min():.0f}% and {rates.max():.0f}%" in " ".join(PAGE.split())


@pytest.mark.parametrize("target", ["tutorials/first-run", "how-to/train", "explanation/limits"])
def test_it_leads_to_the_site(target: str) -> None:
    assert f"](docs/{target}.md)" in PAGE
