"""Results to report: a benchmark of the repository without weights, a run and a benchmark made here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.cli import dragon
from support.report_pages import HOSTILE, QUICK

if TYPE_CHECKING:
    from pathlib import Path

TRAIN = """
reward = "per-song-fad:clap@airs + 0.5 * vendi:logmel"
heldout = ["clap-score:clap"]
heldout_prompts = 4
steps = 2
prompts_per_step = 4
epochs = 1
demonstration_steps = 2
learning_rate = 3e-3
"""
PRESET = """
heldout_prompts = 8
inference_steps = 2
subset_size = 4
rounds = 2
[train]
steps = 1
prompts_per_step = 4
epochs = 1
demonstration_steps = 2
learning_rate = 3e-3
"""
SUITE = """
[small]
summary = "a reward of clips and one of sets"
slots = ["clap-score:clap", "vendi:logmel"]
"""


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `dragon train` on the embedded pipeline, toward a mixture."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "run.toml").write_text(TRAIN)
    assert dragon("train", folder / "run.toml", "--out", folder / "run").exit_code == 0
    return folder / "run"


@pytest.fixture(scope="session")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark of two rewards."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "preset.toml").write_text(PRESET)
    (folder / "suite.toml").write_text(SUITE)
    named = "--preset", folder / "preset.toml", "--suite", folder / "suite.toml"
    assert dragon("bench", *named, "--workers", 1, "--out", folder / "bench").exit_code == 0
    return folder / "bench"


@pytest.fixture(scope="session")
def benchmark_page(benchmark: Path) -> Path:
    """Its page, with players."""
    assert dragon("report", benchmark, "--pairs", 4).exit_code == 0
    return benchmark / "report.html"


@pytest.fixture(scope="session")
def quick_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the committed benchmark of twenty rewards, which has no weights."""
    path = tmp_path_factory.mktemp("quick") / "report.html"
    assert dragon("report", QUICK, "--out", path).exit_code == 0
    return path


@pytest.fixture(scope="session")
def run_page(run: Path) -> Path:
    """The page of the run, with players of prompts that are markup."""
    (run / "prompts.txt").write_text("\n".join(HOSTILE))
    assert dragon("report", run, "--pairs", 3, "--prompts", run / "prompts.txt").exit_code == 0
    return run / "report.html"
