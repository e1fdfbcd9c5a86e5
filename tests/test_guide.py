"""The guide's commands for the embedded model run as written; its tables are those that the scripts wrote."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from support.readme import ROOT, Block, blocks
from test_readme import run

from dragon_train.config import train_config

GUIDE = ROOT / "docs" / "guide.md"
PAGE = GUIDE.read_text(encoding="utf-8")
TABLES = ROOT / "reports" / "guide"


def test_the_guide_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    for block in blocks(PAGE):
        if block.file and block.file.startswith("small"):
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.is_run:
            run(block, tmp_path)
    metrics = pd.read_csv(tmp_path / "runs" / "small" / "metrics.csv")
    named = set(re.findall(r"^\| `([^`]+)`", PAGE.split("## Read the figures")[1].split("\n## ")[0], re.MULTILINE))
    assert named <= set(metrics), "a column that the guide explains is not in metrics.csv"
    assert (tmp_path / "sets" / "mytracks" / "clap.safetensors").is_file()


@pytest.mark.parametrize("verb", ["sample", "exemplars add", "train", "compare"])
def test_every_verb_of_the_way_is_run(verb: str) -> None:
    assert any(f"dragon {verb}" in block.text for block in blocks(PAGE) if block.is_run)


@pytest.mark.parametrize("path", sorted(TABLES.glob("*.md")), ids=lambda path: path.stem)
def test_tables_are_those_that_the_scripts_wrote(path: Path) -> None:
    assert path.read_text(encoding="utf-8").strip() in PAGE


@pytest.mark.parametrize("block", [block for block in blocks(PAGE) if block.language == "toml"], ids=lambda b: b.mark)
def test_settings_are_those_of_the_trainer(block: Block) -> None:
    assert train_config(tomllib.loads(block.text), block.mark).reward.endswith("@mytracks")


def test_the_cross_effects_are_those_of_the_benchmark() -> None:
    rates = pd.read_csv(ROOT / "reports" / "bench-quick" / "cross_effects.csv").set_index("run")
    row = rates.loc["dataset-fad:clap@tunebook"]
    own, logmel, chroma = (row[f"dataset-fad:{encoder}@tunebook"] for encoder in ("clap", "logmel", "chroma"))
    assert f"won {own:.0%} by that, and {logmel:.0%} and {chroma:.0%} by the distance" in PAGE
