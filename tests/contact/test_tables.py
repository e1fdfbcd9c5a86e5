"""Tables: within 80 columns the columns of most worth, figures in the digits that count, all of it by `--wide`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from dragon_train.cli.app import app
from dragon_train.cli.printing import PAGE, print_rows

LISTS = ("encoders", "exemplar-sets", "reductions", "rewards", "suites", "pipelines", "adapters", "objectives")
ROW: dict[str, Any] = {
    "run": "per-song-fad:clap@tunebook-captions",
    "served": "per-song-fad:logmel@tunebook",
    "before": 0.98765432,
    "after": 12.3456789,
    "win_rate": 0.8854166,
    "lower": 0.8399,
    "holm": 0.000123456,
    "direction": "lower",
}
MAIN = ("run", "before", "after", "win_rate", "lower", "holm", "direction", "served")


@pytest.mark.parametrize("arguments", [*(("list", name) for name in LISTS), ("plugins",), ("ablate",)])
def test_a_list_fits_a_page(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    others = ("dragon20:", "    {", "SLOW ")  # SLOW: of the seconds of all loads in this process, other tests' included
    rows = [line for line in result.stdout.splitlines() if not line.startswith(others)]
    assert max(map(len, rows)) <= PAGE


def test_the_columns_of_most_worth_stay_and_the_others_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([ROW], as_json=False, main=MAIN)
    shown = capsys.readouterr()
    header, rule, row = shown.out.splitlines()
    assert header.split() == ["run", "before", "after", "win", "rate", "lower", "holm"]
    assert row.split() == [ROW["run"], "0.9877", "12.35", "0.885", "0.84", "0.00012"]
    assert len(rule) <= PAGE
    assert shown.err == "more with --wide: served, direction\n"


def test_wide_has_every_column_and_json_every_digit(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([ROW], as_json=False, wide=True, main=MAIN)
    header = capsys.readouterr().out.splitlines()[0]
    assert [header.index(key.replace("_", " ")) for key in ROW] == sorted(
        header.index(key.replace("_", " ")) for key in ROW
    )
    print_rows([ROW], as_json=True, main=MAIN)
    assert json.loads(capsys.readouterr().out) == [ROW]


def test_text_is_wrapped_between_words_and_names_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"name": "dataset-fad:clap@" + "x" * 40, "summary": "the words-with-hyphens of a long summary " * 3}
    print_rows([row], as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith(row["name"])
    assert max(map(len, lines)) <= PAGE
    assert " ".join(line[len(row["name"]) :].strip() for line in lines[2:]) == row["summary"].strip()
    assert not any(line.endswith("words-") for line in lines)


def test_beside_a_path_longer_than_a_page_all_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    path = "clips/" + "a" * 90 + ".wav"
    row = {"path": path, "value": 1.23456789, "reward": "vendi:clap"}
    print_rows([row], as_json=False, main=("value", "path", "reward"))
    shown = capsys.readouterr()
    assert shown.out.splitlines()[2].split() == ["1.23457", path, "vendi:clap"]
    assert shown.err == ""
