"""The README says what is so: its commands run as written, its lists are those of the program."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

import pytest
from support.readme import README, ROOT, Block, blocks, fresh

if TYPE_CHECKING:
    from pathlib import Path

PAGE = README.read_text(encoding="utf-8")
SET_UP = "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt "
MAIN_JOB = SET_UP + ". && .venv/bin/dragon bench\n"
MADE = (
    "clips/prompts.csv",
    "tuned/prompts.csv",
    "runs/airs/adapter_model.safetensors",
    "runs/mixed/metrics.csv",
    "best/prompts.csv",
    "runs/airs/report.html",
    "test.html",
)
VERBS = (
    "list", "sample", "score", "train", "plugins", "exemplars", "rank", "best-of", "compare", "export-reward",
    "report", "listen page", "ablate",
)  # fmt: skip
TESTS = SET_UP + '".[test]" && .venv/bin/pytest\n'


def environment(site: Path) -> dict[str, str]:
    """This environment's commands, plugins beside it: `pip install` puts them into `site`, from no index."""
    return os.environ | {
        "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(site),
        "PIP_TARGET": str(site),
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as "without isolation"
    }


def run(block: Block, folder: Path) -> None:
    shell = ["bash", "-euo", "pipefail", "-c", block.text]
    command = shell if block.language == "sh" else [sys.executable, "-c", block.text]
    done = subprocess.run(
        command, cwd=folder, env=environment(folder / "site"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
def test_the_tour_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    for block in blocks(PAGE):
        if block.file:
            path = tmp_path / block.file
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.is_run:
            run(block, tmp_path)
    assert [path for path in MADE if not (tmp_path / path).is_file()] == []


def test_the_two_commands_are_single_lines_that_share_their_set_up() -> None:
    set_up = [block.text for block in blocks(PAGE) if "-m venv" in block.text]
    assert set_up == [MAIN_JOB, TESTS]


def test_ci_runs_the_test_command_word_for_word() -> None:
    assert TESTS in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines(keepends=True)


def test_generated_blocks_are_in_sync() -> None:
    assert fresh(PAGE) == PAGE, "run: python tests/support/readme.py"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_but_the_benchmark_is_run(verb: str) -> None:
    assert any(f"dragon {verb}" in block.text for block in blocks(PAGE) if block.is_run)
