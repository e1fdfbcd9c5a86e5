"""The weights-free encoders: bins where they belong, frames that depend on nothing but their clip, gradients."""

import pickle

import pytest
import torch
from torch import Tensor

from dragon_rewards.encoders.spectral import SAMPLE_RATE, Chroma, LogMel
from dragon_rewards.errors import AudioError
from dragon_rewards.media.clips import Clips
from dragon_rewards.protocols import Encoder, EncoderInfo, Modality

ENCODERS: list[tuple[type[LogMel] | type[Chroma], int, int]] = [(LogMel, 64, 1024), (Chroma, 12, 4096)]


def tone(frequency: float, amplitude: float = 0.5) -> Tensor:
    return amplitude * torch.sin(2 * torch.pi * frequency * torch.arange(SAMPLE_RATE) / SAMPLE_RATE)


def noise(clips: int, samples: int = SAMPLE_RATE) -> Tensor:
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("encoder", "dim", "window"), ENCODERS)
def test_shape_dtype_and_protocol(encoder: type[LogMel | Chroma], dim: int, window: int) -> None:
    built = encoder()
    assert isinstance(built, Encoder)
    frames = built.encode_audio(noise(2))
    hop = 512 if encoder is LogMel else 1024
    assert frames.shape == (2, 1 + (SAMPLE_RATE - window) // hop, dim)
    assert frames.dtype == torch.float32
    assert built.encode_audio(noise(2, window)).shape == (2, 1, dim)
    assert built.encode_audio(noise(2, window - 1)).shape == (2, 0, dim)


@pytest.mark.parametrize(("encoder", "dim", "window"), ENCODERS)
def test_a_clip_shorter_than_one_window_is_refused_by_name(
    encoder: type[LogMel | Chroma], dim: int, window: int
) -> None:
    info = EncoderInfo("spectral", frozenset({Modality.AUDIO}), dim, SAMPLE_RATE, "", "", encoder)
    with pytest.raises(AudioError, match=r"'click'.*shorter than one frame"):
        Clips(noise(1, window - 1), SAMPLE_RATE, names=["click"]).embeddings(info, encoder())


@pytest.mark.parametrize(("encoder", "dim", "window"), ENCODERS)
def test_frames_depend_on_their_clip_only(encoder: type[LogMel | Chroma], dim: int, window: int) -> None:
    built, audio = encoder(), noise(5)
    frames, order = built.encode_audio(audio), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(built.encode_audio(audio[order]), frames[order], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(built.encode_audio(audio[2:3])[0], frames[2], atol=1e-6, rtol=1e-5)
    longer = built.encode_audio(torch.cat([audio, noise(5, window)], 1))
    torch.testing.assert_close(longer[:, : frames.shape[1]], frames, atol=1e-6, rtol=1e-5)
    assert dim == frames.shape[2]


@pytest.mark.parametrize(
    ("frequency", "pitch_class"), [(440.0, 9), (220.0, 9), (3520.0, 9), (261.63, 0), (466.16, 10), (185.0, 6)]
)
def test_a_tone_lands_in_its_pitch_class(frequency: float, pitch_class: int) -> None:
    frames = Chroma().encode_audio(tone(frequency)[None])[0]
    assert (frames.argmax(1) == pitch_class).all()
    assert frames[:, pitch_class].min() > 0.85
    torch.testing.assert_close(torch.linalg.vector_norm(frames, dim=1), torch.ones(len(frames)), atol=0.01, rtol=0)


def test_chroma_hardly_hears_loudness_and_nothing_in_silence() -> None:
    chroma, chord = Chroma(), (tone(261.63) + tone(329.63) + tone(392.0))[None]
    torch.testing.assert_close(chroma.encode_audio(0.1 * chord), chroma.encode_audio(chord), atol=0.03, rtol=0)
    assert chroma.encode_audio(torch.zeros(1, SAMPLE_RATE)).abs().max() < 0.05


@pytest.mark.parametrize("frequency", [100.0, 440.0, 2000.0, 7000.0])
def test_a_tone_lands_in_its_mel_band(frequency: float) -> None:
    encoder = LogMel()
    frames = encoder.encode_audio(tone(frequency, 1.0)[None])[0]
    bin_of_tone = round(frequency * encoder.N_FFT / SAMPLE_RATE)
    band = int(encoder.bank[bin_of_tone].argmax())
    assert (abs(frames.argmax(1) - band) <= 1).all()
    assert 0.9 < frames.max() < 1.1


def test_log_mel_of_silence_is_its_floor() -> None:
    torch.testing.assert_close(LogMel().encode_audio(torch.zeros(1, 1024)), torch.full((1, 1, 64), -1.0))


@pytest.mark.parametrize(("encoder", "dim", "window"), ENCODERS)
def test_gradients_are_finite_even_in_silence(encoder: type[LogMel | Chroma], dim: int, window: int) -> None:
    audio = torch.cat([noise(1, window), torch.zeros(1, window)]).requires_grad_()
    (gradient,) = torch.autograd.grad(encoder().encode_audio(audio)[:, :, 0].sum(), audio)
    assert gradient.isfinite().all()
    assert gradient[0].abs().sum() > 0
    assert dim


def test_identity_names_encoder_and_parameters_and_survives_pickling() -> None:
    assert LogMel.identity.startswith("logmel-")
    assert Chroma.identity.startswith("chroma-")
    copy = pickle.loads(pickle.dumps(Chroma()))  # noqa: S301
    assert copy.identity == Chroma().identity
    assert torch.equal(copy.encode_audio(noise(1)), Chroma().encode_audio(noise(1)))
