"""The encoders equal ClapFeatureExtractor and ClapModel, and refuse weights of another model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from dragon_reward_clap import BATCH, Clap, load_encoder
from torch import Tensor
from transformers import ClapFeatureExtractor, ClapModel, RobertaTokenizer

from dragon_rewards import ConfigError, WeightsError

RATE, WINDOW = 48_000, 480_000


@pytest.fixture(scope="module")
def encoder() -> Clap:
    return load_encoder("clap-music")


def sounds(samples: int) -> Tensor:
    """Noise, a chirp, a loud low tone, full-scale clicks, near silence and digital silence, (6, samples)."""
    generator = torch.Generator().manual_seed(samples)
    noise = torch.randn(samples, generator=generator)
    time = torch.arange(samples) / RATE
    chirp = 0.5 * torch.sin(2 * torch.pi * (50 + 700 * time) * time)
    tone = torch.sin(2 * torch.pi * 110 * time)
    clicks = (torch.arange(samples) % 997 == 0).float()
    return torch.stack([0.2 * noise, chirp, tone, clicks, 1e-5 * noise, torch.zeros(samples)])


def original_features(folder: Path, audio: Tensor) -> Tensor:
    extractor = ClapFeatureExtractor.from_pretrained(folder)
    features: Tensor = extractor(list(audio.numpy()), sampling_rate=RATE, return_tensors="pt")["input_features"]
    return features


def original_frames(folder: Path, audio: Tensor) -> Tensor:
    model = ClapModel.from_pretrained(folder).eval()
    with torch.no_grad():
        frames: Tensor = model.get_audio_features(original_features(folder, audio)).pooler_output
    return frames


@pytest.mark.parametrize("samples", [1, 100, 5 * RATE, 7 * RATE + 1, WINDOW - 1, WINDOW])
def test_the_front_end_is_the_feature_extractors(encoder: Clap, weights: Path, samples: int) -> None:
    audio = sounds(samples)
    features = encoder.log_mel(encoder.windows(audio)[:, 0])
    assert (features - original_features(weights / "clap-music", audio)).abs().max() <= 2e-5  # dB


def test_frames_are_those_of_clap_model(encoder: Clap, weights: Path) -> None:
    audio = sounds(3 * RATE)
    frames = encoder.encode_audio(audio)
    assert frames.shape == (6, 1, 512)
    torch.testing.assert_close(frames[:, 0], original_frames(weights / "clap-music", audio), atol=1e-6, rtol=0)
    torch.testing.assert_close(frames.norm(dim=-1), torch.ones(6, 1))


def test_windows_slide_by_a_second_to_the_end_of_the_clip(encoder: Clap, weights: Path) -> None:
    clip = sounds(12 * RATE + 100)[:1]
    starts = range(0, clip.shape[1], RATE)  # as fadtk: 13 windows, those beyond the end filled with zeros
    filled = torch.nn.functional.pad(clip[0], (0, WINDOW))
    windows = torch.stack([filled[start : start + WINDOW] for start in starts])
    frames = encoder.encode_audio(clip)
    torch.testing.assert_close(frames[0], original_frames(weights / "clap-music", windows), atol=1e-6, rtol=0)


def test_windows_of_many_clips_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_CLAP_HOP", "0.5")
    encoder, audio = load_encoder("clap-music"), sounds(WINDOW)[:3]
    frames = encoder.encode_audio(audio)
    assert frames.shape == (3, 20, 512)
    assert len(frames.flatten(0, 1)) > BATCH
    torch.testing.assert_close(frames, torch.cat([encoder.encode_audio(clip[None]) for clip in audio]))


def test_the_hop_is_part_of_the_identity(encoder: Clap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_CLAP_HOP", "2.5")
    other = load_encoder("clap-music")
    assert other.encode_audio(sounds(WINDOW)[:1]).shape == (1, 4, 512)
    assert other.identity != encoder.identity
    monkeypatch.setenv("DRAGON_CLAP_HOP", "1.0")
    assert load_encoder("clap-music").identity == encoder.identity


@pytest.mark.parametrize("hop", ["0", "-1", "10.5", "nan", "inf", "", "often", "1e-9"])
def test_a_hop_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, hop: str) -> None:
    monkeypatch.setenv("DRAGON_CLAP_HOP", hop)
    with pytest.raises(ConfigError, match="DRAGON_CLAP_HOP"):
        load_encoder("clap-music")


@pytest.mark.parametrize("samples", [RATE, 11 * RATE])
def test_gradients_reach_every_part_of_the_audio(encoder: Clap, samples: int) -> None:
    audio = sounds(samples)[:1].requires_grad_()
    encoder.encode_audio(audio).sum().backward()
    assert audio.grad is not None
    assert audio.grad.isfinite().all()
    assert (audio.grad[0].unfold(0, RATE, RATE).abs().amax(-1) > 0).all()


def test_texts_are_embedded_as_clap_model_does(encoder: Clap, weights: Path) -> None:
    texts = ["a slow hymn", "", "fast jig on the fiddle"]
    model = ClapModel.from_pretrained(weights / "clap-music").eval()
    tokens = RobertaTokenizer.from_pretrained(weights / "clap-music")(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        original = model.get_text_features(**tokens).pooler_output
    torch.testing.assert_close(encoder.encode_text(texts), original)
    torch.testing.assert_close(original.norm(dim=-1), torch.ones(3))


def test_a_text_beyond_the_last_position_is_cut(encoder: Clap) -> None:
    # 82 positions, of which RoBERTa uses none up to the padding's; two are the marks of beginning and end.
    longest = "a" * (82 - 2 - 2)
    assert encoder.count_tokens([longest, longest + "bcd"]) == [encoder.token_limit, encoder.token_limit + 3]
    embedded = encoder.encode_text([longest, longest + "bcd", longest[:-1] + "z"])
    torch.testing.assert_close(embedded[0], embedded[1])
    assert not torch.allclose(embedded[0], embedded[2])


@pytest.mark.parametrize("kept", ["model.safetensors", "pytorch_model.bin"])
def test_either_file_of_weights_will_do(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: Clap, kept: str
) -> None:
    copy = shutil.copytree(weights / "clap-music", tmp_path / "clap-music")
    torch.save(ClapModel.from_pretrained(copy).state_dict(), copy / "pytorch_model.bin")
    for name in {"model.safetensors", "pytorch_model.bin"} - {kept}:
        (copy / name).unlink()
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path))
    audio = sounds(RATE)[:2]
    assert torch.equal(load_encoder("clap-music").encode_audio(audio), encoder.encode_audio(audio))


@pytest.mark.parametrize(
    ("key", "value"),
    [("truncation", "fusion"), ("padding", "pad"), ("sampling_rate", 44_100), ("max_length_s", 7)],
)
def test_another_front_end_is_refused(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: object
) -> None:
    copy = shutil.copytree(weights / "clap-music", tmp_path / "clap-music")
    path = copy / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=f"preprocessor_config.json: {key} is {value!r}"):
        load_encoder("clap-music")


def test_weights_with_a_gap_are_refused(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copytree(weights / "clap-music", tmp_path / "clap-music")
    state = ClapModel.from_pretrained(copy).state_dict()
    del state["audio_projection.linear1.weight"]
    (copy / "model.safetensors").unlink()
    torch.save(state, copy / "pytorch_model.bin")
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"lack audio_projection\.linear1\.weight"):
        load_encoder("clap-music")
