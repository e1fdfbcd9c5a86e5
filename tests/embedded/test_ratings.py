"""Heads fitted on a ratings table of real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from dragon_rewards.errors import AudioError, ConfigError
from dragon_rewards.reductions.ratings import fit_ratings


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones under noise: the less noise, the higher the rating; 8 prompts of 10 clips."""
    folder = tmp_path_factory.mktemp("rated")
    rng = np.random.default_rng(0)
    time = np.arange(16_000) / 16_000
    rows = []
    for index in range(80):
        level = rng.uniform(0, 1)
        tone = 0.3 * np.sin(2 * np.pi * rng.uniform(200, 800) * time)
        soundfile.write(folder / f"{index}.wav", tone + 0.3 * level * rng.standard_normal(16_000), 16_000)
        rows.append({"path": f"{index}.wav", "rating": 5 - 4 * level, "prompt": f"prompt {index % 3}"})
    pd.DataFrame(rows).to_csv(folder / "ratings.csv", index=False)
    return folder / "ratings.csv"


def test_a_head_learns_what_the_ratings_say(rated: Path) -> None:
    fitted = fit_ratings(rated, "logmel")
    assert fitted.plcc > 0.8
    assert fitted.srcc > 0.5
    assert fit_ratings(rated, "logmel").plcc == fitted.plcc


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="rating"), "no column rating"),
        (lambda rows: rows.assign(rating="good"), "row 1: rating 'good' is no finite number"),
        (lambda rows: rows.head(5), "has 5 ratings; rate at least 20"),
    ],
)
def test_wrong_tables_are_refused(rated: Path, change: object, message: str) -> None:
    wrong = rated.with_name("wrong.csv")
    change(pd.read_csv(rated)).to_csv(wrong, index=False)  # type: ignore[operator]
    with pytest.raises(ConfigError, match=message):
        fit_ratings(wrong, "logmel")


def test_a_missing_clip_is_named(rated: Path) -> None:
    wrong = rated.with_name("missing.csv")
    rows = pd.read_csv(rated)
    rows.assign(path="gone-" + rows["path"]).to_csv(wrong, index=False)
    with pytest.raises(AudioError, match=r"gone-0\.wav"):
        fit_ratings(wrong, "logmel")
