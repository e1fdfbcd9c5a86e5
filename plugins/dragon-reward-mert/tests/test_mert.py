"""The encoders equal Wav2Vec2FeatureExtractor and HubertModel, and refuse weights of another model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from dragon_reward_mert import Mert, load_encoder
from torch import Tensor
from transformers import HubertModel, Wav2Vec2FeatureExtractor

from dragon_rewards import AudioError, Clips, WeightsError, compose, load_registry

RATE = 24_000


def sounds(samples: int) -> Tensor:
    """Noise, a quiet tone away from zero, and sound between silences, (3, samples)."""
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    tone = 0.01 * torch.sin(2 * torch.pi * 0.01 * torch.arange(samples)) + 0.3
    middle = (torch.arange(samples) > samples // 2) * noise
    return torch.stack([0.1 * noise, tone, middle])


def original(folder: Path, model: HubertModel, audio: Tensor, layer: int) -> Tensor:
    """What leaves `layer` of HubertModel for the output of the checkpoint's feature extractor, clip by clip."""
    extractor, outputs = Wav2Vec2FeatureExtractor.from_pretrained(folder), []
    hook = model.encoder.layers[layer - 1].register_forward_hook(lambda _, __, output: outputs.append(output))
    with torch.no_grad():
        for clip in audio:
            model(**extractor(clip.numpy(), sampling_rate=RATE, return_tensors="pt"))
    hook.remove()
    return torch.cat(outputs)


def changed(weights: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, file: str, **values: object) -> Path:
    """A copy of the checkpoint in `folder` with other values in a JSON file, found through DRAGON_WEIGHTS."""
    copy = shutil.copytree(weights / "mert", folder / "mert")
    (copy / file).write_text(json.dumps(json.loads((copy / file).read_text()) | values))
    monkeypatch.setenv("DRAGON_WEIGHTS", str(folder))
    return copy


@pytest.mark.parametrize("layer", [1, 5, 12])
@pytest.mark.parametrize("samples", [400, 719, 720, RATE, 2 * RATE + 7])
def test_frames_are_those_of_hubert_model(weights: Path, model: HubertModel, layer: int, samples: int) -> None:
    audio = sounds(samples)
    frames = load_encoder(layer).encode_audio(audio)
    assert frames.shape == (3, (samples - 400) // 320 + 1, 768)
    torch.testing.assert_close(frames, original(weights / "mert", model, audio, layer), atol=1e-4, rtol=1e-4)


def test_audio_is_normalised_only_where_the_checkpoint_says_so(
    weights: Path, model: HubertModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio, usual = sounds(RATE), load_encoder(3)
    copy = changed(weights, tmp_path, monkeypatch, "preprocessor_config.json", do_normalize=False)
    plain = load_encoder(3)
    torch.testing.assert_close(plain.encode_audio(audio), original(copy, model, audio, 3), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(plain.encode_audio(audio), usual.encode_audio(audio), atol=1e-2)
    assert plain.identity != usual.identity


def test_layers_share_their_weights_and_run_none_beyond_their_own() -> None:
    first, last = load_registry().build_encoder("mert-1"), load_registry().build_encoder("mert")
    assert isinstance(first, Mert)
    assert isinstance(last, Mert)
    assert (len(first.model.encoder.layers), len(last.model.encoder.layers)) == (1, 12)
    shared = {id(weight) for weight in last.model.parameters()}
    assert shared.issuperset(map(id, first.model.parameters()))
    assert first.identity != last.identity == load_encoder(12).identity


def test_a_clip_shorter_than_a_frame_is_refused() -> None:
    for samples in (1, 12, 399):  # one of them passes the first convolution only
        with pytest.raises(AudioError, match="shorter than one frame of encoder 'mert'"):
            compose("vendi:mert").metric(Clips(sounds(samples)[[0, 0]] + 0.1, RATE))


def test_gradients_reach_the_audio() -> None:
    audio = sounds(RATE).requires_grad_()
    load_encoder(2).encode_audio(audio).square().sum().backward()
    assert audio.grad is not None
    assert audio.grad.isfinite().all()
    assert (audio.grad[0] != 0).float().mean() > 0.99


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("feature_extractor_cqt", True),
        ("deepnorm", True),
        ("attention_relax", 32.0),
        ("do_stable_layer_norm", True),
        ("sample_rate", 16_000),
        ("num_hidden_layers", 24),
    ],
)
def test_what_hubert_model_lacks_is_refused(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: object
) -> None:
    changed(weights, tmp_path, monkeypatch, "config.json", **{key: value})
    with pytest.raises(WeightsError, match=rf"config\.json: {key} is {value!r}"):
        load_encoder(1)


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_other_weights_are_refused(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    path = changed(weights, tmp_path, monkeypatch, "config.json") / "pytorch_model.bin"
    state = torch.load(path, weights_only=True)
    moved = state.pop("encoder.layer_norm.weight") if change == "missing" else torch.zeros(1)
    torch.save(state if change == "missing" else state | {"feature_extractor_cqt.kernel": moved}, path)
    name = r"encoder\.layer_norm\.weight" if change == "missing" else r"feature_extractor_cqt\.kernel"
    with pytest.raises(WeightsError, match=f"missing or unexpected {name}"):
        load_encoder(1)
