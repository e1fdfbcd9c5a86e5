"""A small audio tower of random weights and a random head, in the form in which a user would have downloaded them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dragon_reward_tunejury import CLAP, HEAD, HIDDEN
from torch import Tensor, nn
from transformers import ClapAudioConfig, ClapAudioModelWithProjection, ClapFeatureExtractor

SIZES: dict[str, Any] = {
    "patch_embeds_hidden_size": 16,
    "hidden_size": 128,
    "depths": [2, 1, 1, 1],
    "num_attention_heads": [1, 2, 4, 8],
    "projection_dim": 512,
}
# Names in transformers -> names in LAION-CLAP's checkpoint, as its modules `htsat` and `model` give them.
RELEASED = [
    ("audio_model.audio_encoder.", "audio_branch."),
    ("batch_norm.", "bn0."),
    ("layernorm_before.", "norm1."),
    ("layernorm_after.", "norm2."),
    ("attention.output.dense.", "attn.proj."),
    ("attention.self.", "attn."),
    ("intermediate.dense.", "mlp.fc1."),
    (".output.dense.", ".mlp.fc2."),
    ("audio_projection.linear1.", "audio_projection.0."),
    ("audio_projection.linear2.", "audio_projection.2."),
]


def random_tower() -> ClapAudioModelWithProjection:
    """Weights that are large enough for embeddings to differ, and running moments as of a trained network."""
    torch.manual_seed(0)
    tower = ClapAudioModelWithProjection(ClapAudioConfig(**SIZES))
    for name, weight in tower.named_parameters():
        if weight.ndim > 1 and "bias_table" not in name:
            nn.init.kaiming_normal_(weight)
    for name, moment in tower.named_buffers():
        if "running" in name:
            moment.fill_(-30.0 if "mean" in name else 400.0)
    built: ClapAudioModelWithProjection = tower.eval()
    return built


def released(tower: ClapAudioModelWithProjection, bank: Tensor) -> dict[str, Any]:
    """What the released file holds: names of a data-parallel model, a text tower, NumPy numbers."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in tower.state_dict().items():
        for ours, theirs in RELEASED:
            name = name.replace(ours, theirs)  # noqa: PLW2901  step by step
        tensors[name] = tensor
    for name in [name for name in tensors if ".attn.query." in name]:
        parts = [tensors.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        tensors[name.replace("query", "qkv")] = torch.cat(parts)
    tensors["audio_branch.layers.0.blocks.1.attn_mask"] = torch.zeros(64, 64, 64)
    tensors["audio_branch.spectrogram_extractor.stft.conv_real.weight"] = torch.zeros(513, 1, 1024)
    tensors["audio_branch.logmel_extractor.melW"] = bank
    tensors["audio_branch.tscam_conv.weight"] = torch.zeros(527, 128, 2, 3)
    tensors["audio_branch.head.weight"] = torch.zeros(527, 527)
    tensors["text_branch.embeddings.word_embeddings.weight"] = tensors["audio_transform.0.weight"] = torch.zeros(2, 2)
    module = {f"module.{name}": tensor for name, tensor in tensors.items()}
    return {"epoch": 15, "state_dict": module, "optimizer": {"state": {}}, "score": np.float64(90.14)}


def random_head() -> dict[str, Tensor]:
    """A head under the names of its authors' class, a Sequential called `net`."""
    torch.manual_seed(1)
    state = {}
    for layer, (inner, outer) in enumerate(zip((512, *HIDDEN), (*HIDDEN, 1), strict=True)):
        state[f"net.{4 * layer}.weight"] = torch.randn(outer, inner) * (2 / inner) ** 0.5
        state[f"net.{4 * layer}.bias"] = 0.1 * torch.randn(outer)
        if outer > 1:
            state[f"net.{4 * layer + 1}.weight"] = 1 + 0.1 * torch.randn(outer)
            state[f"net.{4 * layer + 1}.bias"] = 0.1 * torch.randn(outer)
            state[f"net.{4 * layer + 1}.running_mean"] = 0.1 * torch.randn(outer)
            state[f"net.{4 * layer + 1}.running_var"] = 0.5 + torch.rand(outer)
            state[f"net.{4 * layer + 1}.num_batches_tracked"] = torch.tensor(100)
    assert not [name for name in state if re.fullmatch(r"net\.[23]\..*", name)]
    return state


@pytest.fixture(scope="session")
def extractor() -> ClapFeatureExtractor:
    return ClapFeatureExtractor(frequency_min=50, frequency_max=14_000, truncation="rand_trunc", padding="repeatpad")


@pytest.fixture(scope="session")
def tower() -> ClapAudioModelWithProjection:
    return random_tower()


@pytest.fixture(scope="session", autouse=True)
def folder(
    tower: ClapAudioModelWithProjection, extractor: ClapFeatureExtractor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The folder of the weights, found through DRAGON_WEIGHTS."""
    own: Path = tmp_path_factory.mktemp("weights")
    (own / "tunejury").mkdir()
    torch.save(random_head(), own / "tunejury" / HEAD)
    torch.save(released(tower, torch.from_numpy(extractor.mel_filters_slaney).float()), own / "tunejury" / CLAP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRAGON_WEIGHTS", str(own))
        yield own / "tunejury"
