"""The checks of what every encoder promises of the media that it embeds, be they audio or images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from dragon_rewards.compute.devices import available_devices
from dragon_rewards.errors import DragonError
from dragon_rewards.protocols import Modality, TextEncoder
from dragon_rewards.testing.require import DEVICE_ROUNDING, require, require_equal, require_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dragon_rewards.protocols import Encoder
    from dragon_rewards.registry import Registry


class TowerCase(ABC):
    """An encoder, one of its towers, and what the checks share; everything is made when a check asks for it.

    Attributes:
        modality: the modality of the tower.
        method: the name of the encoder's method that embeds a batch.
        media: what the tower is given, in words, for messages.
        noun: one example of it, in words.
        info: the encoder's descriptor.
        registry: where the encoder is registered.
    """

    modality: ClassVar[Modality]
    method: ClassVar[str]
    media: ClassVar[str]
    noun: ClassVar[str]

    def __init__(self, name: str, registry: Registry) -> None:
        self.info = registry.encoder(name)
        self.registry = registry

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder, which is built once for all checks."""
        return self.registry.build_encoder(self.info.name)

    @cached_property
    def another(self) -> Encoder:
        """A second build of this encoder, to compare with the first."""
        return self.info.factory()

    @property
    @abstractmethod
    def batch(self) -> Tensor:
        """Four examples, large enough for a frame; they are new on every call, as an encoder may write to them."""

    @cached_property
    def frames(self) -> Tensor:
        """The frames of `batch`, (4, frames, dim), without gradient."""
        return self.encode(self.batch)

    @abstractmethod
    def examples(self, count: int, seed: int) -> Sequence[Tensor]:
        """Return the frames (frames, dim) of `count` examples, as rewards get them; another seed gives others."""

    def encode(self, batch: Tensor) -> Tensor:
        """Return the frames (examples, frames, dim) of a batch, without gradient."""
        with torch.no_grad():
            return self.tower(self.encoder)(batch)

    def tower(self, encoder: Encoder) -> Callable[[Tensor], Tensor]:
        """Return the method of a built encoder that embeds a batch."""
        method: Callable[[Tensor], Tensor] = getattr(encoder, self.method)
        return method

    @property
    def text_tower(self) -> TextEncoder:
        """The encoder if it embeds text; raises AssertionError if it has no `encode_text`."""
        require(isinstance(self.encoder, TextEncoder), "a text tower", "no encode_text", "implement encode_text")
        assert isinstance(self.encoder, TextEncoder)  # noqa: S101  `require` made sure
        return self.encoder

    def frames_on(self, device: torch.device) -> Tensor:
        """Return the frames of `batch` by the encoder's copy on a device, without gradient."""
        with torch.no_grad():
            return self.tower(self.registry.build_encoder(self.info.name, device))(self.batch.to(device))

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Return the embeddings (texts, dim) of texts, without gradient."""
        with torch.no_grad():
            return self.text_tower.encode_text(texts)


def require_positive(case: TowerCase, *names: str) -> None:
    """Require that the descriptor's facts of these names are positive whole numbers."""
    for name in names:
        value = getattr(case.info, name)
        positive = type(value) is int and value > 0
        require(positive, f"{name} is a positive whole number", repr(value), "correct the EncoderInfo")


def require_facts(case: TowerCase) -> None:
    """Require the facts that every encoder has: a licence, a summary, and modalities that include the tower's."""
    info = case.info
    require_texts(info, "licence", "summary")
    promised = f"modalities that include {case.modality}, from Modality"
    known = case.modality in info.modalities and info.modalities <= set(Modality)
    require(known, promised, f"{set(info.modalities)}", "correct the EncoderInfo")


def builds(case: TowerCase) -> None:
    """Check that the factory makes an encoder with the method of this tower, and can make another."""
    for encoder in (case.encoder, case.another):
        made = hasattr(encoder, case.method)
        require(made, "a factory that returns an encoder", f"{encoder!r}", f"return an object with {case.method}")


def identity(case: TowerCase) -> None:
    """Check that the fingerprint of weights and preprocessing is a text that is not empty, the same for every build."""
    first, second = case.encoder.identity, case.another.identity
    promised = "an identity that is a text, the same whenever the same weights are loaded"
    mend = "derive it from name, version and weights (fingerprint_files), not from what differs by process or by build"
    require(isinstance(first, str) and first and first == second, promised, f"{first!r}, then {second!r}", mend)


def frames(case: TowerCase) -> None:
    """Check that frames are float32 (examples, frames, dim), at least one of each example."""
    require_frames(case.frames, case, count=len(case.batch), least=1)


def require_frames(found: object, case: TowerCase, count: int, least: int) -> None:
    """Require that `found` is float32 frames (count, frames, dim), at least `least` of each example."""
    dim = case.info.dim
    promised = f"{case.method} returns torch.float32 ({count}, frames, {dim}) with {least} or more frames"
    kept = (
        isinstance(found, Tensor)
        and found.dtype == torch.float32
        and found.ndim == 3  # noqa: PLR2004  examples, frames, dim
        and found.shape == (count, max(found.shape[1], least), dim)
    )
    got = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else f"{type(found).__name__}"
    require(kept, promised, got, "return this shape, or correct `dim` of the EncoderInfo")


def finite(case: TowerCase) -> None:
    """Check that no frame of any example holds NaN or infinity."""
    mend = "add a floor before a logarithm, a division or a root; see digital silence, and black"
    require_finite(case.frames, "frames", mend)


def require_finite(found: Tensor, what: str, mend: str) -> None:
    """Require that all values are finite numbers.

    Args:
        found: the values.
        what: their name in the message.
        mend: how to mend an encoder that returns others.
    """
    count = int((~found.isfinite()).sum())
    require(not count, f"finite {what}", f"{count} of {found.numel()} values are not", mend)


def deterministic(case: TowerCase) -> None:
    """Check that the same media give the same frames, on a second call and by another build."""
    mend = "switch dropout off (model.eval()) and seed what is drawn by a constant"
    require_equal(case.encode(case.batch), case.frames, f"the same frames for the same {case.media}", mend)
    with torch.no_grad():
        again = case.tower(case.another)(case.batch)
    require_equal(again, case.frames, "the same frames by another build", f"load all weights; {mend}")


def order_equivariant(case: TowerCase) -> None:
    """Check that examples in another order give the same frames in that order."""
    order = torch.tensor([2, 0, 3, 1])
    mend = f"keep the {case.noun}s' order, and let no {case.noun}'s place in the batch count"
    promised = f"frames that follow the order of {case.noun}s"
    require_equal(case.encode(case.batch[order]), case.frames[order], promised, mend)


def batch_invariant(case: TowerCase) -> None:
    """Check that an example alone gives the frames that it has in a batch."""
    alone = torch.cat([case.encode(example[None]) for example in case.batch])
    mend = f"normalise each {case.noun} by itself; model.eval() for batch norm"
    require_equal(alone, case.frames, f"frames that do not depend on the other {case.noun}s of the batch", mend)


def require_distinct(case: TowerCase, what: str) -> None:
    """Require that the frames differ between the examples of the batch; `what` names an example in the message."""
    spread = float((case.frames - case.frames.mean(0)).abs().max())
    require(spread, f"frames that tell {what}s apart", f"the same frames for every {what}", f"read the {case.media}")


def input_unmodified(case: TowerCase) -> None:
    """Check that the encoder does not write to the media that it is given."""
    batch = case.batch
    case.encode(batch)
    promised, found = f"{case.media} left as it came in", f"{case.method} wrote to its input"
    require(batch.equal(case.batch), promised, found, "use no operation in place, or clone first")


def devices(case: TowerCase) -> None:
    """Check that on every device of this machine the encoder's copy gives the CPU's frames, and on that device."""
    promised = f"the CPU's frames, on the device of the {case.media}"
    mend = (
        "hold tensors in attributes or closures, which are copied to the device, and create further tensors of "
        f"{case.method} there (device={case.media}.device)"
    )
    for device in available_devices():
        try:
            found = case.frames_on(device)
        except RuntimeError as error:  # torch's refusal of tensors on two devices
            require(kept=False, promised=promised, found=f"with {case.media} on {device}: {error}", mend=mend)
        require(found.device == device, promised, f"frames on {found.device} for {case.media} on {device}", mend)
        require_equal(found.cpu(), case.frames, f"{promised}, {device}", mend, DEVICE_ROUNDING)


def gradients(case: TowerCase) -> None:
    """Check that where frames carry a gradient, it reaches the media, is finite and is not zero everywhere."""
    batch = case.batch.requires_grad_()
    try:
        found = case.tower(case.encoder)(batch)
    except DragonError:  # an encoder may refuse media that require gradients
        return
    if found.requires_grad:
        # Random weights: the sum or norm of frames that were normalised is constant.
        weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(0)).to(found)
        [gradient] = torch.autograd.grad((found * weights).sum(), batch, allow_unused=True)
        _require_gradient(gradient, case)


def _require_gradient(gradient: Tensor | None, case: TowerCase) -> None:
    promised = f"a gradient of the {case.media}, where frames carry one"
    mend = "let it through with torch operations, or detach the frames and freeze the weights"
    require(gradient is not None, promised, "the weights' gradient only", mend)
    assert gradient is not None  # noqa: S101  `require` made sure
    require_finite(gradient, "gradients", "add an offset before a root or logarithm: their slope at 0 is infinite")
    require(gradient.any(), promised, "zeros only", mend)
