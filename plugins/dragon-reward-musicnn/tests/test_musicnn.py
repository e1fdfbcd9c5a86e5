"""The networks compute what the original ones do, the front end what its definition says, and clips are scored."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from dragon_reward_musicnn import HOP, MSD, MTT, Musicnn, load_network
from dragon_reward_musicnn_network import BANDS, FFT_HOP, N_FFT, PATCH, SHORTEST, FrontEnd
from dragon_reward_musicnn_tags import MSD_TAGS, MTT_TAGS
from numpy.typing import NDArray
from torch import Tensor
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from dragon_rewards import AudioError, Clips, WeightsError, compose

RATE = 16_000
REFERENCE = Path(__file__).parent / "reference.npz"  # outputs of musicnn 0.1.0 on TensorFlow 2.15.1, of random spectra


@pytest.fixture(scope="module")
def encoder() -> Musicnn:
    return Musicnn()


@pytest.fixture(scope="module")
def reference() -> dict[str, Tensor]:
    with np.load(REFERENCE, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


def sounds(samples: int) -> Tensor:
    """Noise, a chirp, full-scale clicks, near silence and digital silence, (5, samples)."""
    generator = torch.Generator().manual_seed(samples)
    noise = torch.randn(samples, generator=generator)
    time = torch.arange(samples) / RATE
    chirp = 0.5 * torch.sin(2 * torch.pi * (50 + 300 * time) * time)
    clicks = (torch.arange(samples) % 997 == 0).float()
    return torch.stack([0.2 * noise, chirp, clicks, 1e-5 * noise, torch.zeros(samples)])


@pytest.mark.parametrize(("name", "path"), [("MTT", MTT), ("MSD", MSD)])
def test_the_layers_are_those_of_the_original(reference: dict[str, Tensor], name: str, path: Path) -> None:
    with torch.no_grad():
        layers = load_network(path)(reference["mel"])
    torch.testing.assert_close(layers.logits, reference[f"{name}_logits"], atol=2e-4, rtol=0)
    torch.testing.assert_close(layers.penultimate, reference[f"{name}_penultimate"], atol=1e-4, rtol=0)
    torch.testing.assert_close(layers.mean, reference[f"{name}_mean"], atol=1e-4, rtol=0)


def by_hand(clip: NDArray[np.float64], bank: NDArray[np.float64]) -> NDArray[np.float64]:
    """The spectrum (frames, 96) by numpy: frames are centred, and the clip is mirrored at its ends."""
    window = np.sin(np.pi * np.arange(N_FFT) / N_FFT) ** 2
    padded = np.pad(clip, N_FFT // 2, mode="reflect")
    starts = range(0, len(clip) + 1, FFT_HOP)
    frames = np.stack([np.fft.rfft(window * padded[start : start + N_FFT]) for start in starts])
    return np.log10(10_000 * np.abs(frames) ** 2 @ bank + 1)


def slaney() -> NDArray[np.float64]:
    """The 96 triangles (257, 96): linear to 1 kHz, then 27 bands to each factor of 6.4, of unit area per hertz."""
    top = 15 + 27 * np.log(8000 / 1000) / np.log(6.4)
    mels = np.linspace(0, top, BANDS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    frequency = np.arange(N_FFT // 2 + 1)[:, None] * RATE / N_FFT
    rise = (frequency - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - frequency) / (edges[2:] - edges[1:-1])
    triangles: NDArray[np.float64] = np.maximum(0, np.minimum(rise, fall)) * 2 / (edges[2:] - edges[:-2])
    return triangles


@pytest.mark.parametrize("samples", [SHORTEST, 3 * RATE, 5 * RATE + 77])
def test_the_front_end_is_its_definition(samples: int) -> None:
    audio, bank = sounds(samples), slaney()
    expected = torch.from_numpy(np.stack([by_hand(clip.double().numpy(), bank) for clip in audio]))
    torch.testing.assert_close(FrontEnd()(audio), expected, atol=2e-4, rtol=0, check_dtype=False)


def test_the_front_end_is_that_of_transformers() -> None:
    bank = mel_filter_bank(N_FFT // 2 + 1, BANDS, 0.0, RATE / 2, RATE, norm="slaney", mel_scale="slaney")
    clip = sounds(3 * RATE)[1]
    power = spectrogram(
        clip.numpy(), window_function(N_FFT), N_FFT, FFT_HOP, power=2.0, mel_filters=bank, mel_floor=0.0
    )
    expected = torch.from_numpy(np.log10(10_000 * power.T + 1))
    torch.testing.assert_close(FrontEnd()(clip[None])[0], expected, atol=2e-4, rtol=0, check_dtype=False)


@pytest.mark.parametrize("seconds", [3, 5.12, 10])
def test_there_is_a_frame_for_each_hop_of_whole_patches(encoder: Musicnn, seconds: float) -> None:
    audio = sounds(int(seconds * RATE))[:1]
    frames = 1 + audio.shape[1] // FFT_HOP
    assert encoder.encode_audio(audio).shape == (1, 1 + (frames - PATCH) // HOP, 200)
    assert Musicnn(MTT, PATCH).encode_audio(audio).shape == (1, frames // PATCH, 200)


def test_a_patch_is_heard_as_it_is_alone(encoder: Musicnn) -> None:
    audio = sounds(5 * RATE)
    patches = encoder.front_end(audio)[:, HOP : HOP + PATCH]
    layers = encoder.layers(audio)  # 15 patches: more than one pass
    alone = encoder.network(patches)
    torch.testing.assert_close(layers.penultimate[:, 1], alone.penultimate, atol=1e-4, rtol=0)
    torch.testing.assert_close(layers.mean[:, 1], alone.mean, atol=1e-4, rtol=0)
    torch.testing.assert_close(encoder.probabilities(audio)[:, 1], alone.logits.sigmoid(), atol=1e-4, rtol=0)


def test_the_two_networks_differ_in_weights_and_tags(encoder: Musicnn) -> None:
    other = Musicnn(MSD)
    assert encoder.tags is MTT_TAGS
    assert other.tags is MSD_TAGS
    assert len(set(MTT_TAGS)) == len(set(MSD_TAGS)) == 50
    assert len({encoder.identity, other.identity, Musicnn(MTT, PATCH).identity}) == 3


def test_what_is_shorter_than_a_patch_is_refused_by_name(encoder: Musicnn) -> None:
    assert encoder.encode_audio(sounds(SHORTEST - 1)).shape == (5, 0, 200)
    assert encoder.encode_audio(sounds(SHORTEST)).shape == (5, 1, 200)
    with pytest.raises(AudioError, match=r"'short' .* is shorter than one frame of encoder 'musicnn'"):
        compose("vendi:musicnn").metric(Clips(sounds(SHORTEST - 1)[:2], RATE, names=["short", "shorter"]))


def test_gradients_are_those_of_a_finite_difference() -> None:
    encoder = Musicnn()
    encoder.network.double()
    encoder.front_end.double()
    audio, step = sounds(SHORTEST)[:1].double().requires_grad_(), 1e-6 * sounds(SHORTEST)[1:2].double()
    (gradient,) = torch.autograd.grad(encoder.encode_audio(audio).sum(), audio)
    with torch.no_grad():
        difference = (encoder.encode_audio(audio + step) - encoder.encode_audio(audio - step)).sum() / 2
    torch.testing.assert_close((gradient * step).sum(), difference, atol=0, rtol=1e-4)


def test_silence_has_finite_gradients(encoder: Musicnn) -> None:
    audio = torch.zeros(1, SHORTEST, requires_grad=True)
    encoder.encode_audio(audio).sum().backward()
    assert audio.grad is not None
    assert audio.grad.isfinite().all()


@pytest.mark.parametrize("name", ["per-song-fad:musicnn@airs", "per-song-fad:musicnn@tunebook"])
def test_the_shipped_sets_have_statistics(name: str) -> None:
    noise, chirp = compose(name).metric(Clips(sounds(5 * RATE)[:2], RATE))
    assert min(noise, chirp) > 0
    assert noise != chirp


def test_missing_weights_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"mtt\.safetensors.* cannot be read .*pip install --force-reinstall"):
        Musicnn(tmp_path / "mtt.safetensors")


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    shutil.copy(MTT, tmp_path)
    path = tmp_path / MTT.name
    path.write_bytes(path.read_bytes()[:1_000_000])
    with pytest.raises(WeightsError, match="cannot be read"):
        Musicnn(path)
