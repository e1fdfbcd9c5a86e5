"""Every check of encoders catches an encoder that breaks its promise; an encoder that keeps all of them passes."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.faulty_parts import DIM, RATE, WINDOW, Ear, TwoTower, checks_of, encoder, registry_of, word_vector
from torch import Tensor, nn

from dragon_rewards.errors import EncoderError
from dragon_rewards.protocols import Modality
from dragon_rewards.testing import ENCODER, TEXT_TOWER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon_rewards.protocols import EncoderInfo

BUILDS = count()


class Renamed(Ear):
    def __init__(self) -> None:
        super().__init__()
        self.identity = f"ear-{next(BUILDS)}"


class Double(Ear):
    def encode_audio(self, audio: Tensor) -> Tensor:
        return super().encode_audio(audio).double()


class Pooled(Ear):
    def encode_audio(self, audio: Tensor) -> Tensor:
        return super().encode_audio(audio).mean(1)


class Floorless(Ear):
    def encode_audio(self, audio: Tensor) -> Tensor:
        return self.levels(audio, 0.0)


class Dropout(Ear):
    def encode_audio(self, audio: Tensor) -> Tensor:
        return nn.functional.dropout(super().encode_audio(audio), 0.1)


class Untrained(Ear):
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(DIM, DIM))

    def encode_audio(self, audio: Tensor) -> Tensor:
        return super().encode_audio(audio) @ self.weight


class Numbered(Ear):
    def encode_audio(self, audio: Tensor) -> Tensor:
        frames = super().encode_audio(audio)
        return frames + torch.arange(float(len(frames)))[:, None, None]


class BatchNorm(Ear):
    def encode_audio(self, audio: Tensor) -> Tensor:
        frames = super().encode_audio(audio)
        return frames - frames.mean((0, 1))


class Remembering(Ear):
    """Pads to the longest clip that it has ever seen."""

    longest = 0

    def encode_audio(self, audio: Tensor) -> Tensor:
        self.longest = max(self.longest, audio.shape[1])
        return super().encode_audio(nn.functional.pad(audio, (0, self.longest - audio.shape[1])))


class Deaf(Ear):
    def encode_audio(self, audio: Tensor) -> Tensor:
        return torch.zeros_like(super().encode_audio(audio))


class LastBit(Ear):
    """Hears the last of 20 bits."""

    def encode_audio(self, audio: Tensor) -> Tensor:
        bits = (audio * 2**19).round().remainder(2)
        return bits.unfold(-1, WINDOW, WINDOW)[..., :DIM]


class Mean(Ear):
    """The mean frame of a clip, which has none if it is short."""

    def encode_audio(self, audio: Tensor) -> Tensor:
        padded = nn.functional.pad(audio, (0, max(0, WINDOW - 1 - audio.shape[1])))
        whole = padded[:, : padded.shape[1] // WINDOW * WINDOW]
        frames = super().encode_audio(whole) if whole.shape[1] else audio.new_zeros(len(audio), 0, DIM)
        return frames.mean(1, keepdim=True)


class Raising(Ear):
    def encode_audio(self, audio: Tensor) -> Tensor:
        if audio.shape[1] < WINDOW:
            raise IndexError("no window")
        return super().encode_audio(audio)


class Centring(Ear):
    def encode_audio(self, audio: Tensor) -> Tensor:
        audio -= audio.mean(-1, keepdim=True)
        return super().encode_audio(audio)


class Elsewhere(Ear):
    def encode_audio(self, audio: Tensor) -> Tensor:
        return super().encode_audio(audio).to("meta")


class WordsElsewhere(TwoTower):
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return super().encode_text(texts).to("meta")


class RootOfZero(Ear):
    def encode_audio(self, audio: Tensor) -> Tensor:
        power = audio.unfold(-1, WINDOW, WINDOW).square().mean(-1, keepdim=True)
        return power.sqrt().expand(-1, -1, DIM)


class Cut(Ear):
    """Its weights carry gradients, and its audio does not."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def encode_audio(self, audio: Tensor) -> Tensor:
        return self.gain * super().encode_audio(audio.detach())


class Flat(Ear):
    def encode_audio(self, audio: Tensor) -> Tensor:
        return super().encode_audio(audio.detach()) + 0 * audio.sum()


class Refusing(Ear):
    def encode_audio(self, audio: Tensor) -> Tensor:
        if audio.requires_grad:
            raise EncoderError("no gradients: detach the audio")
        return super().encode_audio(audio)


class ShortVectors(TwoTower):
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return super().encode_text(texts)[:, 1:]


class Drawn(TwoTower):
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return super().encode_text(texts) + torch.randn(len(texts), DIM)


class Unmasked(TwoTower):
    """Means over the words of the longest text."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        longest = max(len(text.split()) for text in texts)
        return torch.stack([sum(map(word_vector, text.split()), torch.zeros(DIM)) / longest for text in texts])


class WordMean(TwoTower):
    def pooled(self, words: Sequence[str]) -> Tensor:
        return sum(map(word_vector, words), torch.zeros(DIM)) / torch.tensor(float(len(words)))


class Truncating(TwoTower):
    """Reads fifty words."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return super().encode_text([" ".join(text.split()[:50]) for text in texts])


class Bounded(Truncating):
    token_limit = 50

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


class Overstating(Bounded):
    token_limit = 10_000


class Understating(TwoTower):
    token_limit = 50

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


class Blocks(nn.Module):
    """An autoencoder without loss, with the interface of diffusers': a latent is a block of samples."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(sampling_rate=RATE, audio_channels=1)

    def encode(self, audio: Tensor) -> SimpleNamespace:
        blocks = audio[:, 0].unfold(-1, DIM, DIM).transpose(1, 2)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: blocks))

    def decode(self, latents: Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=latents.transpose(1, 2).flatten(1)[:, None])


class Samples(Ear):
    """Its frames are the latents of `Blocks`."""

    keeps_latents = True

    def __init__(self) -> None:
        super().__init__()
        self.autoencoder = Blocks()

    def encode_audio(self, audio: Tensor) -> Tensor:
        return audio.unfold(-1, DIM, DIM)

    def latent_frames(self, latents: Tensor) -> Tensor:
        return latents.transpose(1, 2)


class Unfolded(Samples):
    def latent_frames(self, latents: Tensor) -> Tensor:
        return latents


class Backwards(Samples):
    """Hears frames in another order than it reads them."""

    def encode_audio(self, audio: Tensor) -> Tensor:
        return super().encode_audio(audio).flip(1)


class Modest(Backwards):
    keeps_latents = False


def undeclared(**changes: Any) -> EncoderInfo:
    return encoder(TwoTower, modalities=frozenset({Modality.AUDIO}), **changes)


WRONG = [
    ("facts", "sample_rate", encoder(Ear, sample_rate=8000.0)),
    ("facts", "dim", encoder(Ear, dim=0)),
    ("facts", "licence", encoder(Ear, licence=" ")),
    ("facts", "summary", encoder(Ear, summary="")),
    ("facts", "audio", encoder(Ear, modalities=frozenset({Modality.TEXT}))),
    ("builds", "returned object", encoder(object)),
    ("identity", "'ear-", encoder(Renamed)),
    ("frames", "float64", encoder(Double)),
    ("frames", "float32 (4, 6)", encoder(Pooled)),
    ("frames", "(4, frames, 7)", encoder(Ear, dim=7)),
    ("finite", "96 of 960 values", encoder(Floorless)),
    ("deterministic", "for the same audio", encoder(Dropout)),
    ("deterministic", "another build", encoder(Untrained)),
    ("order-equivariant", "order of clips", encoder(Numbered)),
    ("batch-invariant", "other clips of the batch", encoder(BatchNorm)),
    ("length-independent", "shapes", encoder(Remembering)),
    ("distinct sounds", "the same frames", encoder(Deaf)),
    ("channels and rate", "they move by", encoder(LastBit)),
    ("short input", "6 of 6 values", encoder(Mean)),
    ("short input", "IndexError", encoder(Raising)),
    ("input unmodified", "wrote to its input", encoder(Centring)),
    ("devices", "meta", encoder(Elsewhere)),
    ("gradients", "finite gradients", encoder(RootOfZero)),
    ("gradients", "the weights' gradient only", encoder(Cut)),
    ("gradients", "zeros only", encoder(Flat)),
    ("latents", "found: torch.float32 (4, 6, 2666)", encoder(Unfolded)),
    ("latents", "correlate by 0.95 or more\nfound: -0.", encoder(Backwards)),
    ("text tower", "declared: False", undeclared()),
    ("text embeddings", "(4, 5)", encoder(ShortVectors)),
    ("text deterministic", "same texts", encoder(Drawn)),
    ("text batch-invariant", "other texts", encoder(Unmasked)),
    ("empty text", "values are not", encoder(WordMean)),
    ("text limit", "a long text that is cut", encoder(Truncating)),
    (
        "text limit",
        "1 and 2001 tokens of a short and a long text, a limit of 10000; the long one is",
        encoder(Overstating),
    ),
    ("text limit", "a limit of 50; the long one is not", encoder(Understating)),
    ("text devices", "meta tensor", encoder(WordsElsewhere)),
]


@pytest.mark.parametrize(("check", "message", "info"), WRONG, ids=[f"{check}: {why}" for check, why, _ in WRONG])
def test_a_wrong_encoder_is_caught(check: str, message: str, info: EncoderInfo) -> None:
    with pytest.raises(AssertionError) as caught:
        checks_of("encoder", registry_of([info]))[check].run()
    assert message in str(caught.value)


def test_every_check_has_a_wrong_encoder() -> None:
    assert {check for check, _, _ in WRONG} == set(ENCODER + TEXT_TOWER)


@pytest.mark.parametrize("factory", [Ear, TwoTower, Bounded, Refusing, Samples, Modest])
def test_a_right_encoder_passes_every_check(factory: Any) -> None:
    found = checks_of("encoder", registry_of([encoder(factory)]))
    assert set(found) == set(ENCODER + TEXT_TOWER if issubclass(factory, TwoTower) else ENCODER)
    for check in found.values():
        check.run()
