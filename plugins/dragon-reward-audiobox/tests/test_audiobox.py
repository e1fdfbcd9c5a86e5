"""The encoder on its own: windows, gradients and the weights it takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import CONFIG, write
from dragon_reward_audiobox import WINDOW, Audiobox
from torch import Tensor

from dragon_rewards import Direction, RewardKind, WeightsError, load_registry


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Audiobox:
    return Audiobox(folder)


def noise(clips: int, samples: int) -> Tensor:
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(0))


def test_a_clip_is_rated_alike_in_any_batch(encoder: Audiobox) -> None:
    audio = noise(9, 24_000)  # 9: more than one pass
    torch.testing.assert_close(encoder.encode_audio(audio)[4:5], encoder.encode_audio(audio[4:5]), atol=1e-4, rtol=0)


def test_full_windows_are_frames_of_their_own_ratings(encoder: Audiobox) -> None:
    audio = noise(1, 2 * WINDOW)
    alone = torch.stack([encoder.rate(window) for window in audio.split(WINDOW, dim=1)], dim=1)
    torch.testing.assert_close(encoder.encode_audio(audio), alone)


def test_a_short_last_window_weighs_by_its_length(encoder: Audiobox) -> None:
    audio = noise(1, WINDOW + WINDOW // 4)
    full, short = encoder.rate(audio[:, :WINDOW]), encoder.rate(audio[:, WINDOW:])
    torch.testing.assert_close(encoder.encode_audio(audio).mean(1), (4 * full + short) / 5)


def test_gradients_are_those_of_a_finite_difference(folder: Path) -> None:
    encoder = Audiobox(folder)
    encoder.network.double()
    audio, step = noise(1, 8000).double().requires_grad_(), 1e-5 * noise(1, 8001)[:, 1:].double()
    (gradient,) = torch.autograd.grad(encoder.rate(audio).sum(), audio)
    with torch.no_grad():
        difference = (encoder.rate(audio + step) - encoder.rate(audio - step)).sum() / 2
    torch.testing.assert_close((gradient * step).sum(), difference, atol=0, rtol=1e-4)


def test_every_axis_is_a_reward_of_a_clip_that_rises_with_the_rating() -> None:
    for axis in ("ce", "cu", "pc", "pq"):
        info = load_registry().reduction(f"audiobox-{axis}")
        assert (info.kind, info.direction) == (RewardKind.INSTANCE, Direction.HIGHER)


def test_a_head_of_one_layer_with_dropout_and_no_normalisation(release: dict[str, Tensor], tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in release.items() if not name.startswith("proj_layer")}
    for axis in CONFIG["target_transform"]:
        state |= {f"proj_layer.{axis}.0.weight": torch.ones(1, 48), f"proj_layer.{axis}.0.bias": torch.zeros(1)}
    config = {**CONFIG, "proj_num_layer": 1, "proj_dropout": 0.1, "normalize_embed": False}
    plain = Audiobox(write(tmp_path / "plain", state, config))
    normalised = Audiobox(write(tmp_path / "normalised", state, {**config, "normalize_embed": True}))
    assert not plain.rate(noise(1, 8000)).allclose(normalised.rate(noise(1, 8000)))


def test_the_place_of_a_dropout_counts_in_the_names_of_a_head(release: dict[str, Tensor], tmp_path: Path) -> None:
    moved = {"3": "4", "4": "5", "6": "8"}  # linear, norm, gelu, dropout, linear, ...

    def name(old: str) -> str:
        first, axis, place, rest = old.split(".")
        return f"{first}.{axis}.{moved.get(place, place)}.{rest}"

    state = {name(old) if old.startswith("proj_layer") else old: tensor for old, tensor in release.items()}
    with_dropout = Audiobox(write(tmp_path / "dropout", state, {**CONFIG, "proj_dropout": 0.1}))
    without = Audiobox(write(tmp_path / "none", release, CONFIG))
    torch.testing.assert_close(with_dropout.rate(noise(1, 8000)), without.rate(noise(1, 8000)))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"wavlm_model.encoder.layers.1.fc2.bias": None}, "Missing key"),
        ({"wavlm_model.encoder.layers.1.self_attn.grep_a": None}, "Missing key"),
        ({"layer_weights.PQ": None}, "Missing key"),
        ({"layer_weights.XX": torch.zeros(4)}, "Unexpected key"),
        ({"wavlm_model.encoder.extra": torch.zeros(4)}, "Unexpected key"),
        ({"layer_weights.PQ": torch.zeros(3)}, "size mismatch"),
        ({"wavlm_model.encoder.layers.0.fc1.weight": None}, r"layers\.0\.fc1\.weight"),
    ],
)
def test_a_tensor_missing_left_over_or_of_another_shape_is_refused(
    release: dict[str, Tensor], tmp_path: Path, wrong: dict[str, Tensor | None], said: str
) -> None:
    state = {name: tensor for name, tensor in {**release, **wrong}.items() if tensor is not None}
    with pytest.raises(WeightsError, match=said) as refusal:
        Audiobox(write(tmp_path / "audiobox", state, CONFIG))
    assert str(tmp_path / "audiobox") in str(refusal.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"use_weighted_layer_sum": False}, "use_weighted_layer_sum must be True, not False"),
        ({"proj_act_fn": "relu"}, "proj_act_fn must be 'gelu', not 'relu'"),
        ({"output_dim": 2}, "output_dim must be 1, not 2"),
        ({"proj_num_layer": 5}, "Missing key"),
        ({"target_transform": {"CE": {"mean": 5.0, "std": 1.5}}}, "CU"),
    ],
)
def test_heads_of_another_kind_are_refused(
    release: dict[str, Tensor], tmp_path: Path, wrong: dict[str, object], said: str
) -> None:
    with pytest.raises(WeightsError, match=said):
        Audiobox(write(tmp_path / "audiobox", release, {**CONFIG, **wrong}))


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_damaged_file_is_refused(release: dict[str, Tensor], tmp_path: Path, file: str) -> None:
    folder = write(tmp_path / "audiobox", release, CONFIG)
    (folder / file).write_bytes((folder / file).read_bytes()[:100])
    with pytest.raises(WeightsError, match="download it again"):
        Audiobox(folder)


def test_other_ratings_have_another_identity(release: dict[str, Tensor], encoder: Audiobox, tmp_path: Path) -> None:
    config = json.loads(json.dumps(CONFIG))
    config["target_transform"]["PQ"]["mean"] += 1
    assert Audiobox(write(tmp_path / "audiobox", release, config)).identity != encoder.identity
