"""A folder of sets for each test, a folder of music, and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.sounds import write_tone
from support.user_sets import dragon, refused, rows, sets

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["dragon", "music", "refused", "rows", "sets"]


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Four files of four formats, rates and lengths, in two folders."""
    folder = tmp_path / "music"
    write_tone(folder / "a.wav", 2.0, 16_000, seed=1)
    write_tone(folder / "b.flac", 3.5, 44_100, seed=2, channels=2)
    write_tone(folder / "deep" / "c.OGG", 2.5, 22_050, seed=3)
    write_tone(folder / "deep" / "d.mp3", 3.0, 44_100, seed=4)
    return folder
