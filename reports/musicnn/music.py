"""Real music under free licences that Debian packages bring: the soundtracks of three games, which no package ships.

    apt-get install singularity-music warzone2100-music wesnoth-1.16-music

Their licences stand in /usr/share/doc/PACKAGE/copyright. None of this music is in this repository.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import soundfile
import torch

from dragon_rewards.media.clips import resample, to_mono

if TYPE_CHECKING:
    from torch import Tensor

RATE = 16_000
GAMES = Path("/usr/share/games")
SETS = {  # a style each: ambient electronic, industrial electronic, orchestral
    "singularity": GAMES / "singularity" / "music",
    "warzone2100": GAMES / "warzone2100" / "music",
    "wesnoth": GAMES / "wesnoth" / "1.16" / "data" / "core" / "music",
}
SHORTEST = 40.0  # seconds of a track; jingles are left out


def tracks(name: str) -> list[Path]:
    """The files of a set that are no jingles, sorted; none where its package is not installed."""
    found = sorted(path for path in SETS[name].rglob("*") if path.suffix in {".ogg", ".opus"})
    return [path for path in found if soundfile.info(path).duration >= SHORTEST]


def excerpt(path: Path, seconds: float) -> Tensor:
    """The middle of a track, mono at 16 kHz, (samples,)."""
    with soundfile.SoundFile(path) as sound:
        rate = sound.samplerate
        sound.seek(int((sound.frames / rate - seconds) / 2 * rate))
        audio = torch.from_numpy(sound.read(int(seconds * rate), dtype="float32", always_2d=True).T)
    return resample(to_mono(audio), rate, RATE)[: int(seconds * RATE)]


def halves(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Every other track, and those between."""
    return paths[::2], paths[1::2]
