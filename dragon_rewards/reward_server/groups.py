"""Groups of clips as encoders take them, decoded from the files of a request just as `dragon score` reads files.

Audio is mixed to mono and resampled, refused where it is silent or not finite, and cut into windows where it is long.
What the files of a request decode to is bounded before anything is decoded, because a small file may hold much silence
or a large plain image.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError, MissingPromptsError
from dragon_rewards.media.audio import opened, read_mono, read_windows
from dragon_rewards.media.clips import check_peak, resample
from dragon_rewards.media.image_files import opened_image, pixels_of
from dragon_rewards.protocols import Modality

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from dragon_rewards.media.cut import Cut
    from dragon_rewards.reward_server.formats import Asked
    from dragon_rewards.rewards import Reward

FLOAT = 4  # bytes


class TooLargeError(DragonError):
    """Raised for files that decode to more than a request may hold."""


@dataclass(frozen=True)
class Clip:
    """A clip of a group, decoded.

    Attributes:
        name: its name in error messages.
        windows: the tensors that are encoded, on the CPU: mono audio (samples,) at the encoder's rate, one for each
            window, or one image (3, height, width).
        prompt: its prompt; empty if the reward reads none.
    """

    name: str
    windows: Sequence[Tensor]
    prompt: str


class Room:
    """The values that the files of a request may still decode to."""

    def __init__(self, limit: int) -> None:
        """Make room for `limit` bytes of float32 values."""
        self.limit, self.left = limit, limit / FLOAT

    def take(self, values: float, name: str) -> None:
        """Take the room of a file.

        Raises:
            TooLargeError: there is too little left.
        """
        self.left -= values
        if self.left < 0:
            raise TooLargeError(
                f"with '{name}' the files decode to more than {self.limit} bytes: send fewer or smaller ones at once, "
                "or start the server with a larger --limit-mb"
            )


def read_group(asked: Asked, reward: Reward, cut: Cut, limit: int) -> list[Clip]:
    """Decode the files of a request.

    Args:
        asked: the request.
        reward: the reward that will judge them.
        cut: how the reward's files are cut into windows, see `encoding.cut_of`.
        limit: the most bytes that the files may decode to.

    Raises:
        AudioError: a file is not audio, or no reward can judge it.
        ImageError: a file is no image that is read here.
        MissingPromptsError: the reward needs prompts, and there are none, or one is empty.
        TooFewClipsError: the reward needs more clips.
        TooLargeError: the files decode to more than `limit` bytes.
    """
    reward.check_count(len(asked.files))
    if reward.reduction.needs_prompts and asked.prompts is None:
        raise MissingPromptsError(f"'{reward.name}' compares clips with their prompts: send one prompt for each file")
    if reward.reduction.needs_prompts:
        _check_prompts(asked)
    room, rate, prompts = Room(limit), reward.encoder.sample_rate, asked.prompts or [""] * len(asked.files)

    def windows(file: bytes, name: str) -> list[Tensor]:
        return _heard(file, name, cut, rate, room) if asked.modality is Modality.AUDIO else [_seen(file, name, room)]

    named = [(file, f"{asked.field}[{index}]") for index, file in enumerate(asked.files)]
    return [Clip(name, windows(file, name), prompt) for (file, name), prompt in zip(named, prompts, strict=True)]


def _check_prompts(asked: Asked) -> None:
    """Refuse prompts that say nothing, as `dragon score` does."""
    for index, prompt in enumerate(asked.prompts or ()):
        if not prompt.strip():
            raise MissingPromptsError(f"the prompt of '{asked.field}[{index}]' is empty: send what the file should be")


def _heard(file: bytes, name: str, cut: Cut, rate: int, room: Room) -> list[Tensor]:
    """Return the windows of a file of audio in which something is heard, at `rate`."""
    with opened(BytesIO(file), name) as sound:
        room.take(sound.frames * max(sound.channels, rate / sound.samplerate), name)
        seconds = sound.frames / sound.samplerate
    if seconds <= cut.longest:
        return [resample(*read_mono(BytesIO(file), name), rate)]
    windows = list(read_windows(BytesIO(file), cut.window, name))
    check_peak(max(window.peak for window in windows), name)
    return [resample(window.audio, window.rate, rate) for window in windows if not window.silent]


def _seen(file: bytes, name: str, room: Room) -> Tensor:
    """Return an image as RGB values from 0 to 1, (3, height, width)."""
    with opened_image(BytesIO(file), name) as image:
        room.take(3 * image.width * image.height, name)
        return pixels_of(image)
