"""A set of examples whose embeddings are computed once per encoder, whichever rewards ask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor

from dragon_rewards.compute.batches import in_batches
from dragon_rewards.compute.devices import CPU, is_out_of_memory
from dragon_rewards.errors import DeviceError, DragonError, EncoderError, MissingPromptsError
from dragon_rewards.guard import guarded, output_fault, reason_of
from dragon_rewards.media.cache import CacheKey, CacheView
from dragon_rewards.media.embeddings import EmbeddingStore
from dragon_rewards.protocols import Embeddings, TextEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
    from contextlib import AbstractContextManager
    from typing import Self

    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.plugins import PluginRecord
    from dragon_rewards.protocols import Encoder, EncoderInfo

    AnyMedia = TypeVar("AnyMedia", bound="Media")

LAYOUT = torch.contiguous_format
FOREIGN = (
    " (on {device}: an encoder's copy there has all that it reaches through attributes and closures; what it makes it "
    "has to make with device=audio.device, and global variables do not follow)"
)


class Media(ABC):
    """Examples of one modality, with their prompts and names.

    Attributes:
        media: a float32 tensor per example; none where they are gone.
        sample_rate: of audio, in Hz; 0 for what has none.
        prompts: one text per example, or None.
        names: one name per example, which refusals use.
        known: the embeddings computed so far.
        cache: where embeddings are looked up before they are computed, and kept after; None for examples that are new.
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
        """Where the examples are, or what is known of them; the CPU where there is neither."""
        held = chain(self.media, *self.known.frames.values(), self.known.prompts.values())
        return next((tensor.device for tensor in held), CPU)

    @abstractmethod
    def _encode(self, info: EncoderInfo, encoder: Encoder, owner: PluginRecord | None) -> tuple[Tensor, ...]:
        """Frames (frames, dim) of each example."""

    def embeddings(
        self, info: EncoderInfo, encoder: Encoder, owner: PluginRecord | None = None, *, with_prompts: bool = False
    ) -> Embeddings:
        """What a reduction sees of these examples, encoded on the first call for this encoder's name only.

        Audio is mixed to mono and resampled to the encoder's rate. Examples are encoded in batches of equal shape, the
        smallest first, so that one that is too small is refused before the long work. Gradients flow when the media
        require them.

        With a cache, only examples that it lacks are encoded, and each batch is kept as soon as it is done. That is
        valid as an encoder's frames of an example do not depend, but for rounding, on its batch.

        Args:
            info: the encoder's descriptor.
            encoder: the encoder itself, on the device of these examples.
            owner: the plugin that registered it; without one, nothing is cached, as a new version could not be told.
            with_prompts: whether the prompts are embedded too (they are not cached).

        Raises:
            AudioError: a clip is shorter than one frame of the encoder.
            ImageError: an image is smaller than one frame of the encoder.
            EncoderError: the encoder failed or broke its contract, or has no tower for these media, or none for text
                where prompts are asked for; or the media are gone and it was not asked before.
            MissingPromptsError: prompts are asked for and the examples have none.
        """
        prompts = self._embed_prompts(info, encoder) if with_prompts else None
        if info.name not in self.known.frames:
            self.known.frames[info.name] = self._encode(info, encoder, owner)
        return Embeddings(self.known.frames[info.name], prompts)

    def select(self, indices: Iterable[int] | Tensor) -> Self:
        """The examples at `indices`, in that order, with the embeddings computed so far."""
        rows = [int(index) for index in indices]
        self._check_counts(len(rows), None, rows)
        chosen = copy(self)
        chosen.media = tuple(self.media[row] for row in rows) if self.media else ()
        chosen.prompts = None if self.prompts is None else tuple(self.prompts[row] for row in rows)
        chosen.names = tuple(self.names[row] for row in rows)
        chosen.known = self.known.select(rows)
        return chosen

    def without_media(self) -> Encoded:
        """Their embeddings, prompts and names alone, which take little memory and are easily sent."""
        return Encoded(EmbeddingStore(dict(self.known.frames), dict(self.known.prompts)), self.names, self.prompts)

    @staticmethod
    def concatenate(sets: Sequence[AnyMedia]) -> AnyMedia:
        """All examples of `sets` in order; embeddings that every set has already are kept, and a cache they share.

        Where one of the sets is without media, so is the whole.

        Raises:
            DragonError: no sets, different modalities or sample rates, or prompts in some sets only; for clips an
                AudioError, for images an ImageError.
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
            with torch.no_grad(), _explained(info.name, "the prompts", self.device, mended=False):
                embedded = encoder.encode_text(self.prompts)
            _check_output(embedded, (len(self), info.dim), info.name, "the prompts")
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
                found = f"{len(given)} {what}s for {count} {self.noun}s"
                raise self.refusal(f"{found}; give one {what} per {self.noun}")


class Encoded(Media):
    """Examples whose media are gone: prompts, names, and embeddings by the encoders that were asked before."""

    def __init__(self, known: EmbeddingStore, names: Sequence[str], prompts: Sequence[str] | None = None) -> None:
        """Take `known`, `names` and `prompts` of another set, perhaps of another process.

        Raises:
            DragonError: no names, or a count of prompts or embeddings that is not theirs.
        """
        super().__init__((), 0, prompts, names, known)
        self._check_counts(len(self.names), self.prompts, self.names)
        self._check_known(known.frames)
        self._check_known(known.prompts)

    def _check_known(self, known: Mapping[str, Sized]) -> None:
        for encoder, rows in known.items():
            if len(rows) != len(self):
                raise DragonError(f"encoder '{encoder}' embedded {len(rows)} examples, and there are {len(self)} names")

    def _encode(self, info: EncoderInfo, encoder: Encoder, owner: PluginRecord | None) -> tuple[Tensor, ...]:  # noqa: ARG002
        known = ", ".join(sorted(self.known.frames)) or "no encoder"
        raise EncoderError(
            f"the media of this set are gone, and encoder '{info.name}' was not asked before (known: {known}); ask for "
            "its embeddings before `without_media`"
        )


class Encodable(Media):
    """Examples that an encoder can be given."""

    short: ClassVar[str] = "smaller"

    def __init__(
        self,
        media: Tensor | Sequence[Tensor],
        sample_rate: int,
        prompts: Sequence[str] | None,
        names: Sequence[str] | None,
        cache: EmbeddingCache | None,
    ) -> None:
        names = [f"{self.noun} {index}" for index in range(len(media))] if names is None else names
        super().__init__((), sample_rate, prompts, names, EmbeddingStore({}, {}), cache)
        self._check_counts(len(media), self.prompts, self.names)
        self.media = tuple(self._laid_out(example, name) for example, name in zip(media, self.names, strict=True))
        self._check_device()
        batches = in_batches(dict(enumerate(self.media)), lambda rows: self._extremes(self._stacked(rows).detach()))
        rows, extremes = zip(*batches, strict=True)
        read = torch.cat(extremes).tolist()  # once for all
        for row, values in zip(chain.from_iterable(rows), read, strict=True):
            self._check_values(values, self.names[row])

    @abstractmethod
    def _laid_out(self, example: Tensor, name: str) -> Tensor:
        """The example as float32 in its layout; raises `refusal` if it has another shape or type, or is empty."""

    @abstractmethod
    def _extremes(self, batch: Tensor) -> Tensor:
        """What tells of each example of a batch whether a reward can judge its values, (examples, ...)."""

    @abstractmethod
    def _check_values(self, extremes: Any, name: str) -> None:
        """Raises `refusal` if no reward can judge an example with these extremes."""

    @abstractmethod
    def _tower(self, encoder: Encoder) -> Callable[[Tensor], Tensor] | None:
        """What encodes a batch of such media; None if the encoder cannot."""

    @abstractmethod
    def _fed(self, batch: Tensor, info: EncoderInfo) -> Tensor:
        """Examples of one shape as the encoder is fed them."""

    @abstractmethod
    def _size(self, fed: Tensor, info: EncoderInfo) -> str:
        """Of one example as it is fed, in words."""

    @abstractmethod
    def _extent(self, example: Tensor) -> str:
        """Of an example itself, in words."""

    def _stacked(self, rows: Sequence[int]) -> Tensor:
        return torch.stack([self.media[row] for row in rows])

    def _check_device(self) -> None:
        devices = sorted({str(example.device) for example in self.media})
        if len(devices) > 1:
            raise self.refusal(f"the {self.noun}s of a set are on {' and '.join(devices)}; move them to one device")

    def _encode(self, info: EncoderInfo, encoder: Encoder, owner: PluginRecord | None) -> tuple[Tensor, ...]:
        tower = self._tower(encoder)
        if tower is None:
            takes = " and ".join(sorted(info.modalities))
            raise EncoderError(f"encoder '{info.name}' embeds {takes}, and this is a set of {self.noun}s; name another")
        shelf = self._shelf(info, encoder, owner)
        kept = shelf.load() if shelf else {}
        frames = {row: example.to(self.device) for row, example in kept.items()}
        missing = {row: example for row, example in enumerate(self.media) if row not in frames}
        with torch.set_grad_enabled(torch.is_grad_enabled() and any(each.requires_grad for each in missing.values())):
            for rows, encoded in in_batches(missing, partial(self._encode_rows, info, tower)):
                # Laid out in memory as those from a cache are, so that sums over them round alike.
                fresh = dict(zip(rows, encoded.clone(memory_format=LAYOUT), strict=True))
                frames.update(fresh)
                if shelf:
                    shelf.store(fresh)
        return tuple(frames[row] for row in range(len(self)))

    def _shelf(self, info: EncoderInfo, encoder: Encoder, owner: PluginRecord | None) -> CacheView | None:
        """Where the embeddings are kept; None if they are not."""
        if self.cache is None or owner is None or any(example.requires_grad for example in self.media):
            return None
        maker = CacheKey(info.name, encoder.identity, info.sample_rate, info.dim, owner.package, owner.version)
        return CacheView(self.cache, maker, [maker.key(example, self.sample_rate) for example in self.media])

    def _encode_rows(self, info: EncoderInfo, tower: Callable[[Tensor], Tensor], rows: Sequence[int]) -> Tensor:
        """Frames (examples, frames, dim) of the examples at `rows`, which are of one shape."""
        name = self.names[rows[0]]
        try:
            return self._encode_batch(info, tower, self._fed(self._stacked(rows), info), name)
        except (RuntimeError, MemoryError) as error:
            if len(rows) > 1 or not is_out_of_memory(error):
                raise
            size = self._extent(self.media[rows[0]])
            raise DeviceError(
                f"'{name}' ({size}) does not fit into the memory of {self.device}, not even alone, where encoder "
                f"'{info.name}' encodes it ({error}); cut it up, end what else uses the device, or choose another, as "
                "--device cpu does"
            ) from error

    def _encode_batch(self, info: EncoderInfo, tower: Callable[[Tensor], Tensor], batch: Tensor, name: str) -> Tensor:
        """Frames (examples, frames, dim) of a batch; `name` is the first example's, for refusals."""
        subject = f"'{name}' ({self._size(batch[0], info)})"
        with _explained(info.name, subject, batch.device):
            frames = tower(batch)
        if isinstance(frames, Tensor) and frames.shape == (len(batch), 0, info.dim):
            raise self.refusal(f"{subject} is {self.short} than one frame of encoder '{info.name}'; remove it")
        middle = frames.shape[1] if isinstance(frames, Tensor) and frames.ndim > 1 else 1
        _check_output(frames, (len(batch), middle, info.dim), info.name, subject)
        if frames.device != batch.device:
            raise EncoderError(
                f"encoder '{info.name}' returned frames on {frames.device} for {subject} on {batch.device}: it has to "
                "bring them back, with frames.to(audio.device), or compute there"
            )
        return frames


def _explained(
    encoder: str, subject: str, device: torch.device, *, mended: bool = True
) -> AbstractContextManager[None]:
    """Say which encoder failed, on what and with what, unless it ran out of memory and the caller mends that."""
    mend = "" if device.type == "cpu" else FOREIGN.format(device=device)

    def refusal(error: BaseException) -> EncoderError:
        return EncoderError(f"encoder '{encoder}' failed on {subject}: {reason_of(error)}{mend}")

    return guarded(refusal, is_out_of_memory if mended else None)


def _joinable(sets: Sequence[AnyMedia]) -> AnyMedia:
    """The set that the others are joined to: one without media if there is one."""
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


def _check_output(output: object, shape: tuple[int, ...], encoder: str, subject: str) -> None:
    """Hold an encoder to its contract: a finite float32 tensor of the shape its descriptor promises."""
    fault = output_fault(output, shape, torch.float32, None, f" for {subject}")
    if fault:
        raise EncoderError(f"encoder '{encoder}' {fault}")
