"""The report of full-size pipelines, on tiny ones: every part of it runs, and each row is kept at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NARROWED = """
import sys
sys.path.insert(0, "reports/guide")
import full_size
full_size.FULL = {"stable-audio": full_size.FULL["stable-audio"]}
full_size.REWARDS = full_size.BENCHMARKED = ("dataset-fad:clap@airs",)
full_size.main()
"""


def narrowed(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script, for one of its pipelines and rewards."""
    command = [sys.executable, "-W", "ignore", "-c", NARROWED, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_it_runs_at_small_size(tmp_path: Path) -> None:
    done = narrowed(str(tmp_path), "--small")
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(tmp_path / "full_size_cpu.csv")
    assert list(rows["gradient_checkpointing"]) == [True, False]
    for phase in ("sampling", "decoding", "encoding", "learning"):
        assert (rows[[f"{phase}_gb", f"{phase}_gb_estimated", f"{phase}_s", f"{phase}_s_estimated"]] > 0).all(axis=None)
    won = pd.read_csv(tmp_path / "full_size_cpu_bench.csv")
    assert list(won["run"]) == ["dataset-fad:clap@airs"]


def test_no_part_is_begun_after_the_time_is_up(tmp_path: Path) -> None:
    done = narrowed(str(tmp_path), "--small", "--minutes", "0")
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())


def test_it_is_refused_where_there_is_no_card(tmp_path: Path) -> None:
    done = narrowed(str(tmp_path))
    assert done.returncode == 2
    assert "--small runs anywhere" in done.stderr
