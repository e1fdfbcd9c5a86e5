"""Results to report: a benchmark of the repository without weights, a run and a benchmark made here."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page
from typer.testing import CliRunner

from dragon_train.cli.app import app

QUICK = Path(__file__).parents[2] / "reports" / "bench-quick"
HOSTILE = [
    '<script>window.hacked = 1</script> a jig & "a reel"',
    '"><img src=x onerror="window.hacked = 1">',
    "</script>",
]
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


def dragon(*arguments: object) -> CliRunner.Result:  # type: ignore[name-defined]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def figures(page: Page, selector: str) -> list[list[float]]:
    """The exact values of a table's figures, row by row."""
    read = "rows => rows.map(row => [...row.querySelectorAll('data')].map(each => Number(each.value)))"
    values: list[list[float]] = page.locator(f"{selector} tbody tr").evaluate_all(read)
    return values


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
