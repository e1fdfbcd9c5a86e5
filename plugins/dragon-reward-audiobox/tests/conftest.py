"""A small network of the original's classes, saved as a user would have downloaded it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file
from transformers import WavLMConfig, WavLMModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = {
    "proj_num_layer": 3,
    "proj_ln": True,
    "proj_act_fn": "gelu",
    "proj_dropout": 0.0,
    "nth_layer": 4,
    "use_weighted_layer_sum": True,
    "precision": "32",
    "normalize_embed": True,
    "output_dim": 1,
    "target_transform": {
        "CE": {"mean": 5.0, "std": 1.5},
        "CU": {"mean": 6.0, "std": 1.25},
        "PC": {"mean": 3.0, "std": 2.0},
        "PQ": {"mean": 7.0, "std": 0.75},
    },
    "freeze_encoder": True,
}

SIZES = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_hidden_layers": CONFIG["nth_layer"] - 1,
    "conv_dim": [32] * 7,
}

# Names in transformers.WavLMModel -> names in the release.
RELEASED = [
    ("masked_spec_embed", "mask_emb"),
    ("feature_projection.projection.", "post_extract_proj."),
    ("feature_projection.layer_norm.", "layer_norm."),
    ("pos_conv_embed.conv.parametrizations.weight.original0", "pos_conv.0.weight_g"),
    ("pos_conv_embed.conv.parametrizations.weight.original1", "pos_conv.0.weight_v"),
    ("pos_conv_embed.conv.", "pos_conv.0."),
    ("attention.gru_rel_pos_const", "self_attn.grep_a"),
    ("attention.gru_rel_pos_linear.", "self_attn.grep_linear."),
    ("attention.rel_attn_embed.", "self_attn.relative_attention_bias."),
    (".attention.", ".self_attn."),
    ("feed_forward.intermediate_dense.", "fc1."),
    ("feed_forward.output_dense.", "fc2."),
    (".conv.", ".0."),
]


def released(name: str) -> str:
    """The release's name of a tensor of WavLMModel."""
    norm = "2" if name.startswith("feature_extractor") else "self_attn_layer_norm"
    if "_layers." in name or "encoder.layers." in name:
        name = name.replace(".layer_norm.", f".{norm}.")
    for ours, theirs in RELEASED:
        name = name.replace(ours, theirs)
    return f"wavlm_model.{name}"


def random_release() -> dict[str, torch.Tensor]:
    """Random tensors under the names of the release; large enough for ratings to differ."""
    torch.manual_seed(0)
    wavlm = WavLMModel(WavLMConfig(**SIZES))
    width, layers = SIZES["hidden_size"], CONFIG["nth_layer"]
    state = {released(name): tensor for name, tensor in wavlm.state_dict().items()}
    for axis in CONFIG["target_transform"]:
        state[f"layer_weights.{axis}"] = torch.zeros(layers)
        for place, shape in {0: (width, width), 1: (width,), 3: (width, width), 4: (width,), 6: (1, width)}.items():
            state[f"proj_layer.{axis}.{place}.weight"] = torch.randn(shape)
            state[f"proj_layer.{axis}.{place}.bias"] = torch.zeros(shape[0])
    return {name: tensor + 0.1 * torch.randn(tensor.shape) for name, tensor in state.items()}


def write(folder: Path, state: dict[str, torch.Tensor], config: dict[str, object]) -> Path:
    """The folder of a release."""
    folder.mkdir(parents=True)
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def release() -> dict[str, torch.Tensor]:
    return random_release()


@pytest.fixture(scope="session", autouse=True)
def folder(release: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the weights, found through DRAGON_WEIGHTS."""
    own = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRAGON_WEIGHTS", str(own))
        yield write(own / "audiobox", release, CONFIG)
