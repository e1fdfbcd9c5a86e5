"""Small random checkpoints of the real classes, where a user would put the released ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import EncodecConfig, EncodecModel

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL = {"num_filters": 4, "codebook_size": 16, "target_bandwidths": [1.5]}
MODELS: dict[str, dict[str, Any]] = {
    "encodec": SMALL,
    "encodec-48khz": SMALL
    | {
        "sampling_rate": 48_000,
        "audio_channels": 2,
        "normalize": True,
        "chunk_length_s": 1.0,
        "overlap": 0.01,
        "norm_type": "time_group_norm",
        "use_causal_conv": False,
    },
}


def random_model(name: str) -> EncodecModel:
    """A model of the released one's kind, with random codebooks too."""
    torch.manual_seed(0)
    model: EncodecModel = EncodecModel(EncodecConfig(**MODELS[name])).eval()
    for layer in model.quantizer.layers:
        torch.nn.init.normal_(layer.get_submodule("codebook").get_buffer("embed"))
    return model


@pytest.fixture(scope="session", autouse=True)
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that DRAGON_WEIGHTS names, with both checkpoints."""
    folder = tmp_path_factory.mktemp("weights")
    for name in MODELS:
        random_model(name).save_pretrained(folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRAGON_WEIGHTS", str(folder))
        yield folder
