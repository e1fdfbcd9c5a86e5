"""The lengths by which audio files are cut into parts that are encoded at once."""

from __future__ import annotations

from dataclasses import dataclass

WINDOW = 30.0  # seconds of the windows that long audio is cut into, unless a set has its own
LONGEST = 300.0  # seconds in one pass: in stereo at 48 kHz 115 MB, and half of that when it is mixed


@dataclass(frozen=True)
class Cut:
    """The rule by which a file is encoded whole or in windows.

    Attributes:
        longest: in seconds; a file of up to this length is encoded in one pass.
        window: in seconds; the length of the windows that a longer file is cut into.
    """

    longest: float = LONGEST
    window: float = WINDOW
