"""`dragon bench --real`: a miniature benchmark whose models stand beside a folder of real clips."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from support.cli import dragon
from support.faults.material import PRESET, SUITE
from typer.testing import Result

from dragon_rewards.evaluation.score_tables import BASELINE
from dragon_rewards.media.audio import write_audio
from dragon_train.bench.result_files import REAL, REAL_MUSIC

pytestmark = pytest.mark.slow

CLIPS, SETS = "per-song-fad:logmel@airs", "vendi:logmel"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "suite.toml").write_text(SUITE)
    (folder / "preset.toml").write_text(PRESET)
    for place in range(8):
        noise = torch.randn(96_000, generator=torch.Generator().manual_seed(place))
        write_audio(folder / "lake" / f"{place}.wav", 0.1 * noise, 16_000)
    return folder


def bench(files: Path, out: Path, *more: object) -> Result:
    given = ["--suite", files / "suite.toml", "--preset", files / "preset.toml", "--workers", 1]
    return dragon("bench", *given, "--out", out, *more)


def test_models_stand_beside_real_clips_and_beside_what_tuning_costs(files: Path, tmp_path: Path) -> None:
    assert bench(files, tmp_path / "out", "--real", files / "lake").exit_code == 0
    found = pd.read_csv(tmp_path / "out" / "ceilings.csv").set_index("run")
    wins = pd.read_csv(tmp_path / "out" / "win_rates.csv").set_index("run")
    real = pd.read_csv(tmp_path / "out" / REAL / REAL_MUSIC).set_index(["model", "reward"])
    assert list(found.index) == list(wins.index)
    for run in found.index:
        assert found.loc[run, "untuned_low"] == wins.loc[run, "before_low"]
        assert found.loc[run, "tuned"] == wins.loc[run, "after"]
        assert found.loc[run, "real_high"] == real.loc[("real", run), "high"]
        assert found.loc[run, "codec"] == real.loc[("codec", run), "value"]
    assert found["headroom"].notna().all()
    costs = pd.read_csv(tmp_path / "out" / "collateral.csv")
    assert list(costs["run"]) == [BASELINE, *wins.index]
    assert costs[["vendi", "fad_logmel", "silence", "loudness"]].notna().all(axis=None)
    page = (tmp_path / "out" / "README.md").read_text()
    assert "## Ceilings" in page
    assert "## Collateral" in page


def test_too_few_real_clips_are_refused_before_any_run(files: Path, tmp_path: Path) -> None:
    write_audio(tmp_path / "few" / "one.wav", 0.1 * torch.ones(96_000), 16_000)
    refused = bench(files, tmp_path / "out", "--real", tmp_path / "few")
    assert refused.exit_code == 2
    assert "holds 1 audio file" in " ".join(refused.stderr.split())
    assert not (tmp_path / "out" / BASELINE).exists()
