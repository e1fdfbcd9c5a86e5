"""Rated clips, and the command line of a user who has no heads yet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from support.user_sets import dragon, refused, rows, sets

__all__ = ["dragon", "refused", "rows", "sets"]


@pytest.fixture(scope="session")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones under noise: the less noise, the higher the rating; 40 clips of 8 prompts."""
    folder = tmp_path_factory.mktemp("rated")
    draw = np.random.default_rng(0)
    time = np.arange(16_000) / 16_000
    rows = []
    for index in range(40):
        level = draw.uniform(0, 1)
        tone = 0.3 * np.sin(2 * np.pi * draw.uniform(200, 800) * time)
        soundfile.write(folder / f"{index}.wav", tone + 0.3 * level * draw.standard_normal(16_000), 16_000)
        rows.append({"path": f"{index}.wav", "rating": 5 - 4 * level, "prompt": f"prompt {index % 8}"})
    pd.DataFrame(rows).to_csv(folder / "mine.csv", index=False)
    return folder / "mine.csv"
