"""Sets of examples of one modality, which are embedded once per encoder, however many rewards ask.

`Media` is any such set. `encodable.Encodable` holds the audio or the images themselves, `Encoded` only what encoders
made of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, TypeVar

import torch
from torch import Tensor

from dragon_rewards.compute.devices import CPU, is_out_of_memory
from dragon_rewards.errors import DragonError, EncoderError, MissingPromptsError
from dragon_rewards.guard import guarded, output_fault, reason_of
from dragon_rewards.protocols import Embeddings, TextEncoder
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Sized
    from contextlib import AbstractContextManager
    from typing import Self

    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.plugins import PluginRecord
    from dragon_rewards.protocols import Encoder, EncoderInfo

    AnyMedia = TypeVar("AnyMedia", bound="Media")

FOREIGN = (
    " (on {device}: an encoder's copy there has all that it reaches through attributes and closures; what it makes it "
    "has to make with device=audio.device, and global variables do not follow)"
)


@dataclass(frozen=True)
class EmbeddingStore:
    """The embeddings of a set of examples that were computed so far, by the name of the encoder.

    Attributes:
        frames: by encoder name, the frames of each example, (frames, dim).
        prompts: by encoder name, the embedded prompts of all examples, (examples, dim).
    """

    frames: dict[str, tuple[Tensor, ...]]
    prompts: dict[str, Tensor]

    def select(self, rows: Sequence[int]) -> EmbeddingStore:
        """Return the embeddings of the examples at `rows`, in that order."""
        return EmbeddingStore(
            {encoder: tuple(frames[row] for row in rows) for encoder, frames in self.frames.items()},
            {encoder: prompts[list(rows)] for encoder, prompts in self.prompts.items()},
        )

    @staticmethod
    def join(parts: Sequence[EmbeddingStore]) -> EmbeddingStore:
        """Return the embeddings of all parts one after another, for those encoders that every part has.

        Args:
            parts: stores of different examples, at least one.
        """
        frames = set.intersection(*(set(part.frames) for part in parts))
        prompts = set.intersection(*(set(part.prompts) for part in parts))
        return EmbeddingStore(
            {encoder: tuple(chain.from_iterable(part.frames[encoder] for part in parts)) for encoder in frames},
            {encoder: torch.cat([part.prompts[encoder] for part in parts]) for encoder in prompts},
        )


class Media(ABC):
    """A set of examples of one modality, with their prompts and names.

    Attributes:
        media: a float32 tensor per example; empty where the media are gone.
        sample_rate: the rate of audio, in Hz; 0 for images and where the media are gone.
        prompts: one text per example, or None.
        names: one name per example, which error messages use.
        known: the embeddings computed so far.
        cache: where embeddings are looked up before they are computed, and stored after; None for examples that are
            new.
    """

    noun: ClassVar[str] = "example"
    refusal: ClassVar[type[DragonError]] = DragonError

    def __init__(
        self,
        media: Sequence[Tensor],
        sample_rate: int,
        prompts: Sequence[str] | None,
        names: Sequence[str],
        known: EmbeddingStore,
        cache: EmbeddingCache | None = None,
    ) -> None:
        self.media, self.sample_rate = tuple(media), sample_rate
        self.prompts, self.names = None if prompts is None else self._texts(prompts), tuple(names)
        self.known, self.cache = known, cache

    def __len__(self) -> int:
        return len(self.names)

    @property
    def device(self) -> torch.device:
        """The device of the examples or, where these are gone, of their embeddings; the CPU where there are neither."""
        held = chain(self.media, *self.known.frames.values(), self.known.prompts.values())
        return next((tensor.device for tensor in held), CPU)

    @abstractmethod
    def _encode(self, info: EncoderInfo, encoder: Encoder, owner: PluginRecord | None) -> tuple[Tensor, ...]:
        """Return the frames (frames, dim) of each example."""

    def embeddings(
        self, info: EncoderInfo, encoder: Encoder, owner: PluginRecord | None = None, *, with_prompts: bool = False
    ) -> Embeddings:
        """Return the embeddings that a reduction judges; an encoder runs on the first call with its name only.

        Audio is mixed to mono and resampled to the encoder's rate. Examples are encoded in batches of equal shape, the
        smallest first, so that an example that is too small is refused before the long work. Gradients flow when the
        media require them.

        With a cache, only the examples that it lacks are encoded, and each batch is stored as soon as it is done. This
        is valid because an encoder's frames of an example depend on the rest of its batch by rounding at most.

        Args:
            info: the encoder's descriptor.
            encoder: the encoder itself, on the device of these examples.
            owner: the plugin that registered it; without one, nothing is cached, as a new version could not be told.
            with_prompts: whether the prompts are embedded too (they are not cached).

        Returns:
            Frames (frames, dim) of each example, and with `with_prompts` the embedded prompts (examples, dim).

        Raises:
            AudioError: a clip is shorter than one frame of the encoder.
            ImageError: an image is smaller than one frame of the encoder.
            DeviceError: a single example does not fit into the memory of the device.
            EncoderError: the encoder failed or broke its contract; it does not embed these media, or no text where
                prompts are asked for; or the media are gone and this encoder was not asked before.
            MissingPromptsError: prompts are asked for and the examples have none.
        """
        prompts = self._embed_prompts(info, encoder) if with_prompts else None
        if info.name not in self.known.frames:
            self.known.frames[info.name] = self._encode(info, encoder, owner)
        return Embeddings(self.known.frames[info.name], prompts)

    def select(self, indices: Iterable[int] | Tensor) -> Self:
        """Return the examples at `indices`, in that order, with the embeddings computed so far.

        Raises:
            DragonError: there are no indices; for clips an AudioError, for images an ImageError.
        """
        rows = [int(index) for index in indices]
        self._check_counts(len(rows), None, rows)
        chosen = copy(self)
        chosen.media = tuple(self.media[row] for row in rows) if self.media else ()
        chosen.prompts = None if self.prompts is None else tuple(self.prompts[row] for row in rows)
        chosen.names = tuple(self.names[row] for row in rows)
        chosen.known = self.known.select(rows)
        return chosen

    def without_media(self) -> Encoded:
        """Return a set of the embeddings, prompts and names alone, which takes little memory and is easily sent."""
        return Encoded(EmbeddingStore(dict(self.known.frames), dict(self.known.prompts)), self.names, self.prompts)

    @staticmethod
    def concatenate(sets: Sequence[AnyMedia]) -> AnyMedia:
        """Return one set of all examples of `sets`, in order.

        It keeps the embeddings that every set has already, and the cache if all sets share one. Where one of the sets
        is without media, so is the whole.

        Raises:
            DragonError: there are no sets; they differ in modality or sample rate; or only some of them have prompts.
                For clips it is an AudioError, for images an ImageError.
        """
        joined = copy(_joinable(sets))
        prompts = [part.prompts for part in sets if part.prompts is not None]
        if len(prompts) not in {0, len(sets)}:
            raise joined.refusal("some of the sets to join have prompts and some have none; give all of them prompts")
        joined.media = tuple(chain.from_iterable(part.media for part in sets)) if joined.media else ()
        joined.prompts = tuple(chain.from_iterable(prompts)) if prompts else None
        joined.names = tuple(chain.from_iterable(part.names for part in sets))
        joined.known = EmbeddingStore.join([part.known for part in sets])
        joined.cache = joined.cache if all(part.cache is joined.cache for part in sets) else None
        return joined

    def _embed_prompts(self, info: EncoderInfo, encoder: Encoder) -> Tensor:
        if self.prompts is None:
            raise MissingPromptsError(
                f"this reward compares {self.noun}s with their prompts; give one prompt per {self.noun}"
            )
        if not isinstance(encoder, TextEncoder):
            raise EncoderError(f"encoder '{info.name}' has no text tower; name one that lists the modality text")
        if info.name not in self.known.prompts:
            with torch.no_grad(), explained(info.name, "the prompts", self.device, mended=False):
                embedded = encoder.encode_text(tuple(map(str, self.prompts)))  # a prompt may be more than a text
            check_output(embedded, (len(self), info.dim), info.name, "the prompts")
            self.known.prompts[info.name] = embedded.to(self.device)
        return self.known.prompts[info.name]

    def _texts(self, prompts: Sequence[str]) -> tuple[str, ...]:
        if isinstance(prompts, str) or not all(isinstance(prompt, str) for prompt in prompts):
            raise MissingPromptsError(f"prompts are a list of texts, one per {self.noun}, not {prompts!r}")
        return tuple(prompts)

    def _check_counts(self, count: int, prompts: Sequence[str] | None, names: Sequence[object]) -> None:
        if not count:
            raise self.refusal(f"a set of {self.noun}s needs at least one {self.noun}")
        for what, given in (("prompt", prompts), ("name", names)):
            if given is not None and len(given) != count:
                found = f"{counted(len(given), what)} for {counted(count, self.noun)}"
                raise self.refusal(f"{found}; give one {what} per {self.noun}")


class Encoded(Media):
    """A set of examples whose media are gone: it holds prompts, names, and the embeddings computed before."""

    def __init__(self, known: EmbeddingStore, names: Sequence[str], prompts: Sequence[str] | None = None) -> None:
        """Take the embeddings, names and prompts of another set, perhaps of another process.

        Raises:
            DragonError: there are no names, or the count of prompts or of embeddings is not the count of names.
        """
        super().__init__((), 0, prompts, names, known)
        self._check_counts(len(self.names), self.prompts, self.names)
        self._check_known(known.frames)
        self._check_known(known.prompts)

    def _check_known(self, known: Mapping[str, Sized]) -> None:
        for encoder, rows in known.items():
            if len(rows) != len(self):
                raise DragonError(
                    f"encoder '{encoder}' embedded {counted(len(rows), 'example')} of {counted(len(self), 'name')}"
                )

    def _encode(self, info: EncoderInfo, encoder: Encoder, owner: PluginRecord | None) -> tuple[Tensor, ...]:  # noqa: ARG002
        known = ", ".join(sorted(self.known.frames)) or "no encoder"
        raise EncoderError(
            f"the media of this set are gone, and encoder '{info.name}' was not asked before (known: {known}); ask for "
            "its embeddings before `without_media`"
        )


def explained(encoder: str, subject: str, device: torch.device, *, mended: bool = True) -> AbstractContextManager[None]:
    """Turn a failure of an encoder into an EncoderError that says which encoder failed, on what and why.

    With `mended`, running out of memory passes unchanged, as the caller then tries a smaller batch.
    """
    mend = "" if device.type == "cpu" else FOREIGN.format(device=device)

    def refusal(error: BaseException) -> EncoderError:
        return EncoderError(f"encoder '{encoder}' failed on {subject}: {reason_of(error)}{mend}")

    return guarded(refusal, is_out_of_memory if mended else None)


def _joinable(sets: Sequence[AnyMedia]) -> AnyMedia:
    """Return the set that the others are joined to: one without media if there is one, else the first.

    Raises:
        DragonError: the sets do not join; for clips an AudioError, for images an ImageError.
    """
    if not sets:
        raise DragonError("there are no sets to join; give one or more")
    without = [part for part in sets if isinstance(part, Encoded)]
    if without:
        return without[0]
    nouns = sorted({f"{part.noun}s" for part in sets})
    if len(nouns) > 1:
        raise DragonError(f"{' and '.join(nouns)} do not join to one set; keep them apart")
    rates = sorted({part.sample_rate for part in sets})
    if len(rates) > 1:
        raise sets[0].refusal(f"sets of clips to join need one sample rate, not {rates}; resample them")
    return sets[0]


def check_output(output: object, shape: tuple[int, ...], encoder: str, subject: str) -> None:
    """Refuse what an encoder returned unless it is a finite float32 tensor of the shape its descriptor promises."""
    fault = output_fault(output, shape, torch.float32, None, f" for {subject}")
    if fault:
        raise EncoderError(f"encoder '{encoder}' {fault}")
