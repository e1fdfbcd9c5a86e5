"""A set of clips whose embeddings are computed once per encoder, whichever rewards ask."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dragon_rewards.audio import check_clip, resample, to_mono
from dragon_rewards.cache import Maker, Shelf
from dragon_rewards.errors import AudioError, EncoderError, MissingPromptsError
from dragon_rewards.protocols import Embeddings, TextEncoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dragon_rewards.cache import EmbeddingCache
    from dragon_rewards.plugins import PluginRecord
    from dragon_rewards.protocols import Encoder, EncoderInfo

BATCH = 32
LAYOUT = torch.contiguous_format


@dataclass(frozen=True)
class Known:
    """Embeddings computed so far, by encoder name: frames per clip, and prompts (clips, dim)."""

    frames: dict[str, tuple[Tensor, ...]]
    prompts: dict[str, Tensor]

    def select(self, rows: Sequence[int]) -> Known:
        """What is known of some clips."""
        return Known(
            {encoder: tuple(frames[row] for row in rows) for encoder, frames in self.frames.items()},
            {encoder: prompts[list(rows)] for encoder, prompts in self.prompts.items()},
        )

    @staticmethod
    def join(parts: Sequence[Known]) -> Known:
        """What is known of all parts together: the encoders that every part has."""
        frames = set.intersection(*(set(part.frames) for part in parts))
        prompts = set.intersection(*(set(part.prompts) for part in parts))
        return Known(
            {encoder: tuple(chain.from_iterable(part.frames[encoder] for part in parts)) for encoder in frames},
            {encoder: torch.cat([part.prompts[encoder] for part in parts]) for encoder in prompts},
        )


class Clips:
    """Clips at one sample rate, with their prompts and names.

    Attributes:
        audio: per clip a float32 tensor (channels, samples); clips may differ in channels and length.
        sample_rate: in Hz, of every clip.
        prompts: one text per clip, or None.
        names: one name per clip, which refusals use.
        known: the embeddings computed so far.
        cache: where embeddings are looked up before they are computed, and kept after; None for clips that are new.
    """

    def __init__(
        self,
        audio: Tensor | Sequence[Tensor],
        sample_rate: int,
        prompts: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        cache: EmbeddingCache | None = None,
    ) -> None:
        """Take (clips, samples), (clips, channels, samples), or a sequence of (samples,) or (channels, samples).

        Raises:
            AudioError: no clips; a clip of another shape or type, empty, not finite or silent; a count of prompts or
                names that is not the count of clips; a sample rate that is not a positive whole number.
        """
        if not isinstance(sample_rate, int) or sample_rate <= 0:
            raise AudioError(f"a sample rate is a positive whole number of Hz, not {sample_rate!r}")
        self.sample_rate = sample_rate
        self.names = tuple(f"clip {index}" for index in range(len(audio))) if names is None else tuple(names)
        self.prompts = None if prompts is None else _texts(prompts)
        _check_counts(len(audio), self.prompts, self.names)
        self.audio = tuple(_channels(clip, name) for clip, name in zip(audio, self.names, strict=True))
        self.known = Known({}, {})
        self.cache = cache

    def __len__(self) -> int:
        return len(self.audio)

    def embeddings(
        self, info: EncoderInfo, encoder: Encoder, owner: PluginRecord | None = None, *, with_prompts: bool = False
    ) -> Embeddings:
        """What a reduction sees of these clips, encoded on the first call for this encoder's name only.

        Clips are mixed to mono, resampled to the encoder's rate and encoded in batches of equal length, the shortest
        first, so that one that is too short is refused before the long work. Gradients flow when the audio requires
        them.

        With a cache, only clips that it lacks are encoded, and each batch is kept as soon as it is done. That is valid
        as an encoder's frames of a clip do not depend, but for rounding, on the clip's batch.

        Args:
            info: the encoder's descriptor.
            encoder: the encoder itself.
            owner: the plugin that registered it; without one, nothing is cached, as a new version could not be told.
            with_prompts: whether the prompts are embedded too (they are not cached).

        Raises:
            AudioError: a clip is shorter than one frame of the encoder.
            EncoderError: the encoder failed or broke its contract, or has no text tower where prompts are asked for.
            MissingPromptsError: prompts are asked for and the clips have none.
        """
        prompts = self._embed_prompts(info, encoder) if with_prompts else None
        if info.name not in self.known.frames:
            self.known.frames[info.name] = self._encode(info, encoder, self._shelf(info, encoder, owner))
        return Embeddings(self.known.frames[info.name], prompts)

    def select(self, indices: Iterable[int] | Tensor) -> Clips:
        """The clips at `indices`, in that order, with the embeddings computed so far."""
        rows = [int(index) for index in indices]
        _check_counts(len(rows), None, rows)
        return _assemble(
            [self.audio[row] for row in rows],
            self.sample_rate,
            None if self.prompts is None else [self.prompts[row] for row in rows],
            [self.names[row] for row in rows],
            self.known.select(rows),
            self.cache,
        )

    @staticmethod
    def concatenate(sets: Sequence[Clips]) -> Clips:
        """All clips of `sets` in order; embeddings that every set has already are kept, and a cache they share.

        Raises:
            AudioError: no sets, different sample rates, or prompts in some sets only.
        """
        rates = sorted({clips.sample_rate for clips in sets})
        if len(rates) != 1:
            raise AudioError(f"sets of clips to join need one sample rate, not {rates}; resample them")
        prompts = [clips.prompts for clips in sets if clips.prompts is not None]
        if len(prompts) not in {0, len(sets)}:
            raise AudioError("some of the sets to join have prompts and some have none; give all of them prompts")
        return _assemble(
            list(chain.from_iterable(clips.audio for clips in sets)),
            rates[0],
            list(chain.from_iterable(prompts)) if prompts else None,
            list(chain.from_iterable(clips.names for clips in sets)),
            Known.join([clips.known for clips in sets]),
            sets[0].cache if all(clips.cache is sets[0].cache for clips in sets) else None,
        )

    def _embed_prompts(self, info: EncoderInfo, encoder: Encoder) -> Tensor:
        if self.prompts is None:
            raise MissingPromptsError("this reward compares clips with their prompts; give one prompt per clip")
        if not isinstance(encoder, TextEncoder):
            raise EncoderError(f"encoder '{info.name}' has no text tower; name one that lists the modality text")
        if info.name not in self.known.prompts:
            with torch.no_grad():
                embedded = encoder.encode_text(self.prompts)
            _check_output(embedded, (len(self), info.dim), info.name, "the prompts")
            self.known.prompts[info.name] = embedded
        return self.known.prompts[info.name]

    def _shelf(self, info: EncoderInfo, encoder: Encoder, owner: PluginRecord | None) -> Shelf | None:
        """Where the embeddings are kept; None if they are not."""
        if self.cache is None or owner is None or any(clip.requires_grad for clip in self.audio):
            return None
        maker = Maker(info.name, encoder.identity, info.sample_rate, info.dim, owner.package, owner.version)
        return Shelf(self.cache, maker, [maker.key(clip, self.sample_rate) for clip in self.audio])

    def _encode(self, info: EncoderInfo, encoder: Encoder, shelf: Shelf | None) -> tuple[Tensor, ...]:
        kept = shelf.load() if shelf else {}
        frames = {row: clip.to(self.audio[row].device) for row, clip in kept.items()}
        mono = {
            row: resample(to_mono(clip), self.sample_rate, info.sample_rate)
            for row, clip in enumerate(self.audio)
            if row not in frames
        }
        with torch.set_grad_enabled(torch.is_grad_enabled() and any(clip.requires_grad for clip in mono.values())):
            for rows in _batches({row: len(clip) for row, clip in mono.items()}):
                batch = torch.stack([mono[row] for row in rows])
                encoded = _encode_batch(info, encoder, batch, self.names[rows[0]])
                # Laid out in memory as those from a cache are, so that sums over them round alike.
                fresh = {row: clip.clone(memory_format=LAYOUT) for row, clip in zip(rows, encoded, strict=True)}
                frames.update(fresh)
                if shelf:
                    shelf.store(fresh)
        return tuple(frames[row] for row in range(len(self)))


def _encode_batch(info: EncoderInfo, encoder: Encoder, batch: Tensor, name: str) -> Tensor:
    """Frames (clips, frames, dim) of mono clips (clips, samples); `name` is the first clip's, for refusals."""
    length = f"{batch.shape[1]} samples at {info.sample_rate} Hz"
    try:
        frames = encoder.encode_audio(batch)
    except RuntimeError as error:
        raise EncoderError(
            f"encoder '{info.name}' failed on '{name}' ({length}), which may be shorter than one frame: {error}"
        ) from error
    if isinstance(frames, Tensor) and frames.shape == (len(batch), 0, info.dim):
        raise AudioError(f"'{name}' ({length}) is shorter than one frame of encoder '{info.name}'; remove it")
    middle = frames.shape[1] if isinstance(frames, Tensor) and frames.ndim > 1 else 1
    _check_output(frames, (len(batch), middle, info.dim), info.name, f"'{name}' ({length})")
    return frames


def _check_output(output: object, shape: tuple[int, ...], encoder: str, subject: str) -> None:
    """Hold an encoder to its contract: a finite float32 tensor of the shape its descriptor promises."""
    if not isinstance(output, Tensor) or output.dtype != torch.float32 or output.shape != shape:
        got = f"{output.dtype} {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise EncoderError(f"encoder '{encoder}' returned {got} for {subject} instead of torch.float32 {shape}")
    if not output.isfinite().all():
        raise EncoderError(f"encoder '{encoder}' returned values that are not finite for {subject}")


def _batches(lengths: Mapping[int, int]) -> Iterator[list[int]]:
    """Rows of equal length, at most 32 together, the shortest first; `lengths` are by row."""
    for length in sorted(set(lengths.values())):
        rows = [row for row, other in lengths.items() if other == length]
        yield from (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


def _channels(clip: Tensor, name: str) -> Tensor:
    """A checked clip as float32 (channels, samples)."""
    if not clip.is_floating_point() or clip.ndim not in {1, 2}:
        got = f"{clip.dtype} {tuple(clip.shape)}"
        raise AudioError(f"'{name}' is {got}; give floating point audio (samples,) or (channels, samples)")
    channels = (clip if clip.ndim > 1 else clip[None]).float()
    # Encoders hear the mono mix, which is silent where channels cancel out.
    check_clip(to_mono(channels), name)
    return channels


def _texts(prompts: Sequence[str]) -> tuple[str, ...]:
    if isinstance(prompts, str) or not all(isinstance(prompt, str) for prompt in prompts):
        raise MissingPromptsError(f"prompts are a list of texts, one per clip, not {prompts!r}")
    return tuple(prompts)


def _check_counts(clips: int, prompts: Sequence[str] | None, names: Sequence[object]) -> None:
    if not clips:
        raise AudioError("a set of clips needs at least one clip")
    if prompts is not None and len(prompts) != clips:
        raise AudioError(f"{len(prompts)} prompts for {clips} clips; give one prompt per clip")
    if len(names) != clips:
        raise AudioError(f"{len(names)} names for {clips} clips; give one name per clip")


def _assemble(
    audio: Sequence[Tensor],
    sample_rate: int,
    prompts: Sequence[str] | None,
    names: Sequence[str],
    known: Known,
    cache: EmbeddingCache | None,
) -> Clips:
    """Clips whose parts were checked before."""
    clips = Clips.__new__(Clips)
    clips.audio, clips.sample_rate, clips.names = tuple(audio), sample_rate, tuple(names)
    clips.prompts, clips.known, clips.cache = None if prompts is None else tuple(prompts), known, cache
    return clips
