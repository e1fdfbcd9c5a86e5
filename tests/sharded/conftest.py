"""A folder of sets for each test, the command line, music, and shards of two files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.sounds import write_tone
from support.user_sets import dragon, refused, rows, sets

from dragon_rewards.storage import shards

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["dragon", "refused", "rows", "sets"]


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Nine files of several lengths, one of them stereo at another rate."""
    for seed in range(8):
        write_tone(tmp_path / "music" / f"{seed}.wav", 1 + seed % 3 / 2, seed=seed)
    write_tone(tmp_path / "music" / "8.flac", 1.2, 44_100, seed=8, channels=2)
    return tmp_path / "music"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files to a shard."""
    monkeypatch.setattr(shards, "FILES", 2)
