"""Sets of examples whose media are here: they are encoded in batches of one shape.

A batch is as large as suits the device, and smaller where its memory has run out.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from dragon_rewards.compute.devices import device_memory, is_out_of_memory
from dragon_rewards.errors import DeviceError, EncoderError
from dragon_rewards.media.cache import CacheKey, CacheView
from dragon_rewards.media.media import EmbeddingStore, Media, check_output, explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.plugins import PluginRecord
    from dragon_rewards.protocols import Encoder, EncoderInfo

LAYOUT = torch.contiguous_format
BATCH = 32  # examples at once on an accelerator: more hardly save time, and would depend on how much memory is free
CPU_BATCH = 8  # with more, activations between layers no longer fit the caches: `vae` takes 1.3 times as long
CPU_VALUES = 2**22  # for the same reason: eight clips of three minutes at once take `logmel` 4.6 times as long as alone
ACTIVATIONS = 512  # bytes of activations for each byte of an example: four layers of 128 channels, as in an autoencoder


class Encodable(Media):
    """A set of examples whose media are here and were checked, so that every encoder of their modality can be asked."""

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
        """Return the example as float32 in its layout; raises `refusal` if it is empty or of another shape or type."""

    @abstractmethod
    def _extremes(self, batch: Tensor) -> Tensor:
        """Return, for each example of a batch, the values by which `_check_values` decides, (examples, ...)."""

    @abstractmethod
    def _check_values(self, extremes: Any, name: str) -> None:
        """Refuse an example with these extremes if no reward can judge it, with an error of the type `refusal`."""

    @abstractmethod
    def _tower(self, encoder: Encoder) -> Callable[[Tensor], Tensor] | None:
        """Return the encoder's method that embeds a batch of such media; None if it has none."""

    @abstractmethod
    def _fed(self, batch: Tensor, info: EncoderInfo) -> Tensor:
        """Return a batch of examples of one shape as the encoder is fed them."""

    @abstractmethod
    def _size(self, fed: Tensor, info: EncoderInfo) -> str:
        """Say in words how large one example is as the encoder is fed it."""

    @abstractmethod
    def _extent(self, example: Tensor) -> str:
        """Say in words how large one example is."""

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
        """Return the place of these examples in the cache; None if their embeddings are not cached."""
        if self.cache is None or owner is None or any(example.requires_grad for example in self.media):
            return None
        maker = CacheKey(info.name, encoder.identity, info.sample_rate, info.dim, owner.package, owner.version)
        return CacheView(self.cache, maker, [maker.key(example, self.sample_rate) for example in self.media])

    def _encode_rows(self, info: EncoderInfo, tower: Callable[[Tensor], Tensor], rows: Sequence[int]) -> Tensor:
        """Return the frames (examples, frames, dim) of the examples at `rows`, which are of one shape."""
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
        """Return the frames (examples, frames, dim) of a batch; error messages name its first example, `name`."""
        subject = f"'{name}' ({self._size(batch[0], info)})"
        with explained(info.name, subject, batch.device):
            frames = tower(batch)
        if isinstance(frames, Tensor) and frames.shape == (len(batch), 0, info.dim):
            raise self.refusal(f"{subject} is {self.short} than one frame of encoder '{info.name}'; remove it")
        middle = frames.shape[1] if isinstance(frames, Tensor) and frames.ndim > 1 else 1
        check_output(frames, (len(batch), middle, info.dim), info.name, subject)
        if frames.device != batch.device:
            raise EncoderError(
                f"encoder '{info.name}' returned frames on {frames.device} for {subject} on {batch.device}: it has to "
                "bring them back, with frames.to(audio.device), or compute there"
            )
        return frames


def first_batch(example: Tensor, device: torch.device) -> int:
    """Return how many examples of this shape to try at once on a device, at least one.

    On the CPU that is as many as its caches hold. On an accelerator it is as many as half of the free memory holds by a
    rough estimate; the other half is left to other users of the device. A wrong estimate costs one attempt, see
    `in_batches`.

    Args:
        example: an example of the shape that the batch will have.
        device: where the batch will be encoded.
    """
    if device.type == "cpu":
        return max(1, min(CPU_BATCH, CPU_VALUES // example.numel()))
    memory = device_memory(device)
    return BATCH if memory is None else max(1, min(BATCH, memory.free // 2 // (ACTIVATIONS * example.nbytes)))


def in_batches(
    examples: Mapping[int, Tensor], encode: Callable[[list[int]], Tensor]
) -> Iterator[tuple[list[int], Tensor]]:
    """Encode examples in batches of equal shape, the smallest shapes first, and yield rows with what `encode` returned.

    If memory runs out, the batch is halved and tried again, and later batches are no larger; batches that are done are
    kept.

    Args:
        examples: row -> example.
        encode: encodes the examples at the given rows, and returns a tensor with one entry for each.

    Raises:
        torch.OutOfMemoryError: a single example is too large. Other errors of `encode` pass unchanged.
    """
    limit = BATCH
    shapes = {example.shape for example in examples.values()}
    for shape in sorted(shapes, key=lambda shape: (shape[1:], shape)):  # by length or size first, then by channels
        waiting = [row for row, example in examples.items() if example.shape == shape]
        first = examples[waiting[0]]
        limit = min(limit, first_batch(first, first.device))
        while waiting:
            rows = waiting[:limit]
            try:
                encoded = encode(rows)
            except (RuntimeError, MemoryError) as error:
                if len(rows) == 1 or not is_out_of_memory(error):
                    raise
                limit = len(rows) // 2
            else:
                yield rows, encoded
                del waiting[: len(rows)]
