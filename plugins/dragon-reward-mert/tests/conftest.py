"""A random checkpoint of the released one's form, where a user would put that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL: dict[str, Any] = {
    "conv_dim": [32] * 7,  # 512 in the released model; width and layers are its own
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "intermediate_size": 32,
    "num_conv_pos_embeddings": 16,
    "mask_time_prob": 0.0,
}
RELEASED: dict[str, Any] = {
    "model_type": "mert_model",
    "architectures": ["MERTModel"],
    "auto_map": {"AutoConfig": "configuration_MERT.MERTConfig", "AutoModel": "modeling_MERT.MERTModel"},
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "feature_extractor_cqt": False,
    "feature_extractor_cqt_bins": 336,
    "deepnorm": False,
    "attention_relax": -1.0,
    "sample_rate": 24_000,
    "torch_dtype": "float32",
}
# torch's older names of a weight's norm and direction, which the released file has.
NAMES = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}


def released_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for new, old in NAMES.items():
        state = {key.replace(new, old): value for key, value in state.items()}
    return state


def write(model: HubertModel, config: dict[str, Any], checkpoint: Path) -> None:
    """The checkpoint of a model in the released one's form; its code must not run."""
    checkpoint.mkdir()
    torch.save(released_names(model.state_dict()), checkpoint / "pytorch_model.bin")
    (checkpoint / "config.json").write_text(json.dumps(config | RELEASED))
    for name in ("configuration_MERT.py", "modeling_MERT.py"):
        (checkpoint / name).write_text("raise SystemExit('code of a checkpoint ran')")
    Wav2Vec2FeatureExtractor(sampling_rate=24_000, return_attention_mask=True).save_pretrained(checkpoint)


def random_model(config: dict[str, Any]) -> HubertModel:
    torch.manual_seed(0)
    built: HubertModel = HubertModel(HubertConfig(**config)).eval()
    return built


@pytest.fixture(scope="session")
def model() -> HubertModel:
    return random_model(SMALL)


@pytest.fixture(scope="session", autouse=True)
def weights(model: HubertModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that DRAGON_WEIGHTS names, with the checkpoint."""
    folder = tmp_path_factory.mktemp("weights")
    write(model, SMALL, folder / "mert")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRAGON_WEIGHTS", str(folder))
        yield folder
