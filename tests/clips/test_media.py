"""Images as clips, sets whose media are gone, and encoders that are asked about what they do not embed."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dragon_rewards.errors import DragonError, EncoderError, ImageError, MissingPromptsError
from dragon_rewards.media.cache import EmbeddingCache
from dragon_rewards.media.clips import Clips
from dragon_rewards.media.encodable import CPU_BATCH
from dragon_rewards.media.images import Images
from dragon_rewards.media.media import EmbeddingStore, Encoded, Media
from dragon_rewards.plugins import PluginRecord
from dragon_rewards.protocols import EncoderInfo, Modality

RATE = 8_000
OWNER = PluginRecord("tests", "dragon-tests", "1.0")


class Eye:
    """A frame per 8 x 8 pixels: the means of the colours. Counts its passes."""

    identity = "eye-1"

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def encode_image(self, images: Tensor) -> Tensor:
        self.batches.append(tuple(images.shape))
        return torch.nn.functional.avg_pool2d(images, 8).flatten(2).mT

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return torch.tensor([[float(len(text)), 1.0, 2.0] for text in texts])


class Ear:
    identity = "ear-1"

    def encode_audio(self, audio: Tensor) -> Tensor:
        return audio.unfold(1, 100, 100)[..., :3]


EYE = EncoderInfo("eye", frozenset({Modality.IMAGE, Modality.TEXT}), 3, 0, "CC0-1.0", "for tests", Eye)
EAR = EncoderInfo("ear", frozenset({Modality.AUDIO}), 3, RATE, "CC0-1.0", "for tests", Ear)


def pixels(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def clips(count: int, seed: int = 0) -> Clips:
    return Clips(pixels(count, 400, seed=seed), RATE, prompts=["a"] * count)


def images(count: int, seed: int = 0) -> Images:
    return Images(pixels(count, 3, 16, 16, seed=seed), prompts=["b"] * count)


def test_images_of_many_sizes_are_encoded_once_smallest_first_and_keep_their_order() -> None:
    given = [pixels(3, 24, 16, seed=row) if row % 2 else pixels(3, 8, 32, seed=row) for row in range(22)]
    pictures, encoder = Images(given), Eye()
    frames = pictures.embeddings(EYE, encoder).frames
    pictures.embeddings(EYE, encoder)
    assert encoder.batches == [(CPU_BATCH, 3, 8, 32), (3, 3, 8, 32), (CPU_BATCH, 3, 24, 16), (3, 3, 24, 16)]
    for image, found in zip(given, frames, strict=True):
        assert torch.equal(found, Eye().encode_image(image[None])[0])


def test_images_select_join_and_have_prompts() -> None:
    both = Images.concatenate([images(2), images(1, seed=1)])
    both.embeddings(EYE, Eye(), with_prompts=True)
    part = both.select(torch.tensor([2, 0]))
    assert isinstance(part, Images)
    assert (len(part), part.prompts, part.names) == (2, ("b", "b"), ("image 0", "image 0"))
    assert torch.equal(part.media[0], images(1, seed=1).media[0])
    assert torch.equal(part.known.frames["eye"][1], both.known.frames["eye"][0])


def test_gradients_reach_the_pixels() -> None:
    given = pixels(2, 3, 16, 16).requires_grad_()
    frames = torch.stack(list(Images(given).embeddings(EYE, Eye()).frames))
    (gradient,) = torch.autograd.grad(frames.sum(), given)
    torch.testing.assert_close(gradient, torch.full_like(gradient, 1 / 64))


def test_images_are_looked_up_in_a_cache(tmp_path: Path) -> None:
    encoder = Eye()
    for _ in range(2):
        given = Images(pixels(2, 3, 16, 16), cache=EmbeddingCache(tmp_path, 2**20))
        found = given.embeddings(EYE, encoder, OWNER).frames
        assert torch.equal(torch.stack(list(found)), Eye().encode_image(pixels(2, 3, 16, 16)))
    assert len(encoder.batches) == 1


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([], "at least one image"),
        ([pixels(3, 8, 8), pixels(1, 8, 8)], r"'image 1' is torch.float32 \(1, 8, 8\)"),
        ([pixels(8, 8)], r"'image 0' is torch.float32 \(8, 8\)"),
        ([torch.ones(3, 8, 8, dtype=torch.uint8)], r"'image 0' is torch.uint8"),
        ([pixels(3, 0, 8)], "'image 0' holds no pixels"),
        ([255 * pixels(3, 8, 8)], r"'image 0' holds values from .* to 25.*; scale or clamp them to \[0, 1\]"),
        ([2 * pixels(3, 8, 8) - 1], "'image 0' holds values from -"),
        ([torch.full((3, 8, 8), float("nan"))], "'image 0' holds values from nan"),
    ],
)
def test_images_that_cannot_be_judged_are_refused(given: list[Tensor], reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        Images(given)


def test_counts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ImageError, match="1 prompt for 2 images; give one prompt per image"):
        Images(pixels(2, 3, 8, 8), prompts=["a"])
    with pytest.raises(MissingPromptsError, match="one per image"):
        Images(pixels(1, 3, 8, 8), prompts="a")
    with pytest.raises(MissingPromptsError, match="compares images with their prompts"):
        Images(pixels(1, 3, 8, 8)).embeddings(EYE, Eye(), with_prompts=True)


def test_an_image_smaller_than_a_frame_is_named() -> None:
    class Whole(Eye):
        def encode_image(self, images: Tensor) -> Tensor:
            return super().encode_image(images) if images.shape[-1] >= 8 else images.new_zeros(len(images), 0, 3)

    small = Images([pixels(3, 8, 8), pixels(3, 7, 6)], names=["a", "b"])
    with pytest.raises(ImageError, match=r"'b' \(6 x 7 pixels\) is smaller than one frame of encoder 'eye'"):
        small.embeddings(EYE, Whole())
    with pytest.raises(EncoderError, match=r"failed on 'b' \(6 x 7 pixels\): RuntimeError: Given input size"):
        small.embeddings(EYE, Eye())


def test_an_encoder_is_not_asked_about_what_it_does_not_embed() -> None:
    with pytest.raises(EncoderError, match="'ear' embeds audio, and this is a set of images"):
        images(1).embeddings(EAR, Ear())
    with pytest.raises(EncoderError, match="'eye' embeds image and text, and this is a set of clips"):
        clips(1).embeddings(EYE, Eye())


def test_media_go_and_what_is_known_stays() -> None:
    whole = images(3)
    expected = whole.embeddings(EYE, Eye(), with_prompts=True)
    light = whole.without_media()
    found = light.embeddings(EYE, Eye(), with_prompts=True)
    assert found.prompts is not None
    assert expected.prompts is not None
    assert all(map(torch.equal, found.frames, expected.frames))
    assert torch.equal(found.prompts, expected.prompts)
    assert (len(light), light.prompts, light.names, light.media) == (3, whole.prompts, whole.names, ())
    assert len(whole.media) == 3


def test_an_encoder_that_was_not_asked_before_the_media_went_is_named() -> None:
    whole = clips(2)
    with pytest.raises(EncoderError, match=r"'ear' was not asked before \(known: no encoder\)"):
        whole.without_media().embeddings(EAR, Ear())
    whole.embeddings(EAR, Ear())
    other = EncoderInfo("other", EAR.modalities, 3, RATE, "", "", Ear)
    with pytest.raises(EncoderError, match=r"'other' was not asked before \(known: ear\)"):
        whole.without_media().embeddings(other, Ear())
    with pytest.raises(EncoderError, match="no text tower"):
        whole.without_media().embeddings(EAR, Ear(), with_prompts=True)


def test_sets_without_media_select_join_and_cross_processes() -> None:
    kept, new = clips(3), clips(2, seed=1)
    for each in (kept, new):
        each.embeddings(EAR, Ear())
    light: Encoded = pickle.loads(pickle.dumps(kept.without_media().select([2, 0])))  # noqa: S301
    rebuilt = Encoded(light.known, light.names, light.prompts)
    joined = Media.concatenate([new, rebuilt])
    assert isinstance(joined, Encoded)
    assert joined.names == ("clip 0", "clip 1", "clip 2", "clip 0")
    expected = [*new.known.frames["ear"], kept.known.frames["ear"][2], kept.known.frames["ear"][0]]
    assert all(map(torch.equal, joined.embeddings(EAR, Ear()).frames, expected))
    assert len(new.media) == 2


def test_known_embeddings_fit_their_names() -> None:
    frames = clips(2)
    frames.embeddings(EAR, Ear())
    with pytest.raises(DragonError, match="encoder 'ear' embedded 2 examples of 1 name"):
        Encoded(frames.known, ["a"])
    with pytest.raises(DragonError, match="at least one example"):
        Encoded(EmbeddingStore({}, {}), [])


def test_clips_and_images_do_not_join() -> None:
    sets: list[Media] = [clips(1), images(1)]
    with pytest.raises(DragonError, match="clips and images do not join"):
        Media.concatenate(sets)
    mixed = [images(1), Images(pixels(1, 3, 8, 8))]
    with pytest.raises(ImageError, match="some have none"):
        Images.concatenate(mixed)
