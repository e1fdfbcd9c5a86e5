"""Spreadsheets find no formula in what is written, and what is read back is what was there."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragon_rewards.media.prompts import prompts_of
from dragon_rewards.storage.files import guarded, unguarded, write_csv

LIVE = ("=", "+", "-", "@", "\t", "\r")


@given(st.text(st.sampled_from("'=+-@\t\ra"), max_size=6))
def test_text_is_no_formula_and_comes_back(text: str) -> None:
    written = guarded(text)
    assert isinstance(written, str)
    assert not written.startswith(LIVE)
    assert unguarded(written) == text


def test_a_table_keeps_its_numbers(tmp_path: Path) -> None:
    table = pd.DataFrame({"=name": ["=1+1", "a jig"], "value": [-1.5, 2.0], "mixed": [-2, "-2"]})
    write_csv(tmp_path / "t.csv", table)
    with (tmp_path / "t.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["'=name", "value", "mixed"],
            ["'=1+1", "-1.5", "-2"],
            ["a jig", "2.0", "'-2"],
        ]


@pytest.mark.parametrize("prompt", ["=HYPERLINK(1)", "-6 dB, a jig", "@home", "'-6 dB", "'tis a jig", "+1"])
def test_prompts_come_back_as_they_were(prompt: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "prompts.csv", pd.DataFrame([{"path": "-a.wav", "prompt": prompt}]))
    assert prompts_of([tmp_path / "-a.wav"]) == [prompt]
