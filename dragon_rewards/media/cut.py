"""How audio files are cut into what is encoded at once."""

from __future__ import annotations

from dataclasses import dataclass

WINDOW = 30.0  # seconds of the windows that long audio is cut into, unless a set has its own
LONGEST = 300.0  # seconds in one pass: in stereo at 48 kHz 115 MB, and half of that when it is mixed


@dataclass(frozen=True)
class Cut:
    """Files of up to `longest` seconds are heard in one pass, longer ones in windows of `window` seconds."""

    longest: float = LONGEST
    window: float = WINDOW
