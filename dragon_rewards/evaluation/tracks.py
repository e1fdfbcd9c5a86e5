"""The tracks of a set of audio that an encoder is judged by: a seeded draw, and one window of each."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from dragon_rewards.errors import AudioError, DragonError, TooFewClipsError
from dragon_rewards.exemplars import items
from dragon_rewards.exemplars.audio import fault, sounding
from dragon_rewards.exemplars.sources import Source
from dragon_rewards.protocols import Modality
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.protocols import ExemplarSetInfo

FEWEST, MOST = 8, 64  # tracks of a set: halves of four; with more it takes longer, and is hardly surer

T = TypeVar("T")


@dataclass(frozen=True)
class Track:
    """A track as it is judged: its first window in which something is heard.

    Attributes:
        name: the name of the track, for error messages.
        audio: mono, (samples,), on the CPU.
        rate: the sample rate in Hz.
    """

    name: str
    audio: Tensor
    rate: int


def tracks_of(info: ExemplarSetInfo, seed: int) -> list[Track]:
    """Read a seeded draw of at most 64 tracks of a user's set of audio.

    Raises:
        DragonError: the set is no audio, or its audio was never on this machine.
        TooFewClipsError: the set has fewer than 8 tracks.
        AudioError: a track is missing or has changed.
    """
    if info.modality is not Modality.AUDIO:
        raise DragonError(f"exemplar set '{info.name}' is {info.modality}, and encoders are judged by audio")
    examples = [item for item in items(info) if item.path is not None]
    if not examples:
        raise DragonError(
            f"exemplar set '{info.name}' stores no audio, only what encoders made of it; make a set of audio: "
            "dragon exemplars add NAME FOLDER"
        )
    check_count(info.name, len(examples))
    return [_track(item) for item in draw(examples, min(len(examples), MOST), seed)]


def check_count(name: str, tracks: int) -> None:
    """Refuse a set of too few tracks to be split in halves and judged.

    Raises:
        TooFewClipsError: there are fewer than 8 tracks.
    """
    if tracks < FEWEST:
        raise TooFewClipsError(
            f"exemplar set '{name}' has {counted(tracks, 'track')}, and at least {FEWEST} are needed to judge by; "
            "add more"
        )


def draw(sequence: Sequence[T], count: int, seed: int) -> list[T]:
    """Return `count` members of a sequence, drawn by a seed, in their order."""
    return [sequence[at] for at in sorted(random.Random(seed).sample(range(len(sequence)), count))]


def _track(item: Item) -> Track:
    where = str(Source.of(item))
    if wrong := fault(item):
        raise AudioError(f"'{where}' is {wrong}; put it back, or add it to the set again")
    window = next(sounding(item))
    return Track(where, window.audio, window.rate)
