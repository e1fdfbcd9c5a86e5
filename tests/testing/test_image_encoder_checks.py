"""Every check of image encoders catches one that breaks its promise; those that keep all of them pass."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.faulty_parts import DIM, Ear, Fit, TwoTower, checks_of, encoder, reduction, registry_of
from torch import Tensor, nn

from dragon_rewards.errors import EncoderError
from dragon_rewards.protocols import Modality
from dragon_rewards.testing import ENCODER, IMAGE_ENCODER, TEXT_TOWER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon_rewards.protocols import EncoderInfo

BUILDS = count()
CELLS = 4  # a side of an image


class Eye(nn.Module):
    """Means and deviations of the three colours in a grid of cells."""

    identity = "eye-1"

    def encode_image(self, images: Tensor) -> Tensor:
        return self.colours(images, 1e-3)

    def colours(self, images: Tensor, floor: float) -> Tensor:
        means = nn.functional.adaptive_avg_pool2d(images, CELLS)
        powers = nn.functional.adaptive_avg_pool2d(images.square(), CELLS)
        return torch.cat([means, (powers + floor).log10()], 1).flatten(2).mT


class Captioner(Eye):
    """With a text tower."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return TwoTower().encode_text(texts)


class Bound(Captioner):
    """With an ear, too."""

    def encode_audio(self, audio: Tensor) -> Tensor:
        return Ear().encode_audio(audio)


class Renamed(Eye):
    def __init__(self) -> None:
        super().__init__()
        self.identity = f"eye-{next(BUILDS)}"


class Pooled(Eye):
    def encode_image(self, images: Tensor) -> Tensor:
        return super().encode_image(images).mean(1)


class Floorless(Eye):
    def encode_image(self, images: Tensor) -> Tensor:
        return self.colours(images, 0.0)


class Dropout(Eye):
    def encode_image(self, images: Tensor) -> Tensor:
        return nn.functional.dropout(super().encode_image(images), 0.1)


class Untrained(Eye):
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(DIM, DIM))

    def encode_image(self, images: Tensor) -> Tensor:
        return super().encode_image(images) @ self.weight


class Numbered(Eye):
    def encode_image(self, images: Tensor) -> Tensor:
        return super().encode_image(images) + torch.arange(float(len(images)))[:, None, None]


class BatchNorm(Eye):
    def encode_image(self, images: Tensor) -> Tensor:
        frames = super().encode_image(images)
        return frames - frames.mean((0, 1))


class Remembering(Eye):
    """Pads to the widest image that it has ever seen."""

    widest = 0

    def encode_image(self, images: Tensor) -> Tensor:
        self.widest = max(self.widest, images.shape[-1])
        return super().encode_image(nn.functional.pad(images, (0, self.widest - images.shape[-1])))


class Blind(Eye):
    def encode_image(self, images: Tensor) -> Tensor:
        return torch.zeros_like(super().encode_image(images))


class Spread(Eye):
    """The deviation over the pixels, of which one has none."""

    def encode_image(self, images: Tensor) -> Tensor:
        deviation = images.flatten(2).var(2) if images[0, 0].numel() > 1 else images.flatten(1) / torch.zeros(3)
        return torch.cat([deviation] * 2, 1)[:, None]


class Raising(Eye):
    def encode_image(self, images: Tensor) -> Tensor:
        if images.shape[-1] < 2 * CELLS:
            raise IndexError("no cell")
        return super().encode_image(images)


class Centring(Eye):
    def encode_image(self, images: Tensor) -> Tensor:
        images -= 0.5
        return super().encode_image(images)


class Elsewhere(Eye):
    def encode_image(self, images: Tensor) -> Tensor:
        return super().encode_image(images).to("meta")


class RootOfBlack(Eye):
    def encode_image(self, images: Tensor) -> Tensor:
        return torch.cat([nn.functional.adaptive_avg_pool2d(images.sqrt(), CELLS)] * 2, 1).flatten(2).mT


class Cut(Eye):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def encode_image(self, images: Tensor) -> Tensor:
        return self.gain * super().encode_image(images.detach())


class Rounded(Eye):
    """As uint8, whose steps have no slope."""

    def encode_image(self, images: Tensor) -> Tensor:
        return super().encode_image((255 * images).round() / 255)


class Refusing(Eye):
    def encode_image(self, images: Tensor) -> Tensor:
        if images.requires_grad:
            raise EncoderError("no gradients: detach the images")
        if images.shape[-1] < 2 * CELLS:
            raise EncoderError("too small")
        return super().encode_image(images)


class ShortVectors(Captioner):
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return super().encode_text(texts)[:, 1:]


class Drawn(Captioner):
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return super().encode_text(texts) + torch.randn(len(texts), DIM)


class Positioned(Captioner):
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return super().encode_text(texts) * len(texts)


class NoWords(Captioner):
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return super().encode_text(texts) / torch.tensor([[float(len(text))] for text in texts])


class Truncating(Captioner):
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return super().encode_text([text[:77] for text in texts])


class WordsElsewhere(Captioner):
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return super().encode_text(texts).to("meta")


def eye(factory: Any, **changes: Any) -> EncoderInfo:
    towers = {
        Modality.AUDIO: "encode_audio",
        Modality.IMAGE: "encode_image",
        Modality.TEXT: "encode_text",
    }
    modalities = frozenset(modality for modality, tower in towers.items() if hasattr(factory, tower))
    facts = {"modalities": modalities | {Modality.IMAGE}, "sample_rate": 8000 * (Modality.AUDIO in modalities)}
    return encoder(factory, **{**facts, **changes})


WRONG = [
    ("facts", "sample_rate", eye(Eye, sample_rate=8000)),
    ("facts", "dim", eye(Eye, dim=0)),
    ("facts", "licence", eye(Eye, licence=" ")),
    ("builds", "which is no ImageEncoder", eye(Ear)),
    ("identity", "'eye-", eye(Renamed)),
    ("frames", "float32 (4, 6)", eye(Pooled)),
    ("frames", "(4, frames, 7)", eye(Eye, dim=7)),
    ("finite", "finite frames", eye(Floorless)),
    ("deterministic", "for the same image", eye(Dropout)),
    ("deterministic", "another build", eye(Untrained)),
    ("order-equivariant", "order of images", eye(Numbered)),
    ("batch-invariant", "other images of the batch", eye(BatchNorm)),
    ("size-independent", "other images' sizes", eye(Remembering)),
    ("distinct images", "the same frames for every image", eye(Blind)),
    ("odd sizes", "frames of 1 x 1 pixels", eye(Spread)),
    ("odd sizes", "IndexError", eye(Raising)),
    ("input unmodified", "wrote to its input", eye(Centring)),
    ("devices", "meta", eye(Elsewhere)),
    ("gradients", "finite gradients", eye(RootOfBlack)),
    ("gradients", "the weights' gradient only", eye(Cut)),
    ("gradients", "zeros only", eye(Rounded)),
    ("text tower", "declared: False", eye(Captioner, modalities=frozenset({Modality.IMAGE}))),
    ("text embeddings", "(4, 5)", eye(ShortVectors)),
    ("text deterministic", "same texts", eye(Drawn)),
    ("text batch-invariant", "other texts", eye(Positioned)),
    ("empty text", "values are not", eye(NoWords)),
    ("text limit", "a long text that is cut", eye(Truncating)),
    ("text devices", "meta tensor", eye(WordsElsewhere)),
]


@pytest.mark.parametrize(("check", "message", "info"), WRONG, ids=[f"{check}: {why}" for check, why, _ in WRONG])
def test_a_wrong_encoder_is_caught(check: str, message: str, info: EncoderInfo) -> None:
    with pytest.raises(AssertionError) as caught:
        checks_of("image encoder", registry_of([info]))[check].run()
    assert message in str(caught.value)


def test_every_check_has_a_wrong_encoder() -> None:
    assert {check for check, _, _ in WRONG} == set(IMAGE_ENCODER + TEXT_TOWER)


@pytest.mark.parametrize("factory", [Eye, Captioner, Bound, Refusing])
def test_a_right_encoder_passes_every_check(factory: Any) -> None:
    found = checks_of("image encoder", registry_of([eye(factory)]))
    assert set(found) == set(IMAGE_ENCODER + TEXT_TOWER if hasattr(factory, "encode_text") else IMAGE_ENCODER)
    for check in found.values():
        check.run()


@pytest.mark.parametrize(("factory", "hearing"), [(Eye, ()), (Bound, ENCODER + TEXT_TOWER)])
def test_an_encoder_is_checked_by_what_it_takes(factory: Any, hearing: tuple[str, ...]) -> None:
    found = checks_of("encoder", registry_of([eye(factory)]))
    assert set(found) == set(hearing)
    for check in found.values():
        check.run()


def test_a_reduction_that_is_tied_to_an_image_encoder_is_tried_on_images() -> None:
    judge = reduction(Fit, needs_prompts=True, encoders=frozenset({"ear"}))
    for check in checks_of("reduction", registry_of([eye(Captioner)], reductions=[judge])).values():
        check.run()
