"""MERT v1 95M (arXiv 2306.00107) as encoders: hidden layers of a HuBERT trained on music, 75 frames of 768 a second.

The checkpoint brings Python code of its own, which never runs: at this size it computes what transformers' HubertModel
does, which takes the weights under the same names. A checkpoint that asks for more is refused.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from dragon_rewards import EncoderInfo, Modality, Weights, WeightsError, find_weights, fingerprint_files, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

REPOSITORY = "m-a-p/MERT-v1-95M"
DIM, SAMPLE_RATE, LAYERS = 768, 24_000, 12
CONFIGURATION = ("config.json", "preprocessor_config.json")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in the order in which transformers looks for them
FILES = (*CONFIGURATION, "|".join(WEIGHTS))
# What MERT's configuration has beyond HuBERT's, and where its layers are normalised: the values of the 95M model.
WANTED = {
    "feature_extractor_cqt": False,
    "deepnorm": False,
    "attention_relax": -1.0,
    "do_stable_layer_norm": False,
    "sample_rate": SAMPLE_RATE,
    "num_hidden_layers": LAYERS,
}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of MERT that was loaded.

    Attributes:
        model: a frozen HubertModel.
        do_normalize: whether its audio is normalised.
        fingerprint: the hash of its files.
    """

    model: Any  # transformers' models have no usable types
    do_normalize: bool
    fingerprint: str


class Mert:
    """An encoder of audio: MERT up to one hidden layer, with weights that all layers share."""

    def __init__(self, checkpoint: Checkpoint, layer: int) -> None:
        self.model, self.do_normalize = first_layers(checkpoint.model, layer), checkpoint.do_normalize
        self.identity = f"{checkpoint.fingerprint}-layer{layer}"

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Return the frames (clips, frames, 768) of mono audio (clips, samples) at 24 kHz.

        There is none below 400 samples, then one per 320 samples.
        """
        if audio.shape[1] < receptive_field(self.model):
            return audio.new_zeros(len(audio), 0, DIM)
        if self.do_normalize:
            audio = normalise(audio)
        frames: Tensor = self.model(audio).last_hidden_state
        return frames


def first_layers(model: Any, count: int) -> Any:
    """Return a HubertModel without its layers beyond `count`, which shares its weights with `model`."""
    # deepcopy takes what its memo holds as copied.
    copy = deepcopy(model, memo={id(weight): weight for weight in model.parameters()})
    copy.encoder.layers = copy.encoder.layers[:count]
    return copy


def normalise(audio: Tensor) -> Tensor:
    """Shift and scale each clip to mean zero and unit variance, (clips, samples).

        (x - mean) / sqrt(variance + 1e-7)

    This is what Wav2Vec2FeatureExtractor does without padding.

    Example:
        >>> import torch
        >>> normalise(torch.tensor([[1.0, 3.0]]))
        tensor([[-1.,  1.]])
    """
    centred = audio - audio.mean(-1, keepdim=True)
    normal: Tensor = centred / (centred.square().mean(-1, keepdim=True) + 1e-7).sqrt()
    return normal


def receptive_field(model: Any) -> int:
    """Return the number of samples that one frame of a HubertModel is computed from."""
    samples = 1
    for kernel, stride in zip(reversed(model.config.conv_kernel), reversed(model.config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


def load_encoder(layer: int) -> Mert:
    """Load the encoder of hidden layer `layer`, 1 to 12, from the user's weights.

    Raises:
        WeightsError: the weights are missing, incomplete, or of another model.
    """
    folder = find_weights("mert", REPOSITORY, FILES)
    return Mert(load_checkpoint(folder), layer)


@cache
def load_checkpoint(folder: Path) -> Checkpoint:
    """Load the checkpoint in `folder` in float32, once per process.

    Raises:
        WeightsError: its configuration asks for what HubertModel lacks, or its weights are not exactly that model's.
    """
    from transformers import Wav2Vec2FeatureExtractor

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    _check_config(config, folder)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    weights = next(folder / file for file in WEIGHTS if (folder / file).is_file())
    fingerprint = fingerprint_files("mert", [weights, *(folder / file for file in CONFIGURATION)])
    return Checkpoint(_load_model(folder, config), extractor.do_normalize, fingerprint)


def _check_config(config: dict[str, Any], folder: Path) -> None:
    for key, value in WANTED.items():
        if config.get(key, value) != value:
            raise WeightsError(
                f"{folder / 'config.json'}: {key} is {config[key]!r}, and this encoder runs only models with "
                f"{value!r}; use {REPOSITORY}"
            )


def _load_model(folder: Path, config: dict[str, Any]) -> Any:
    import torch
    from transformers import HubertConfig, HubertModel

    known = {key: config[key] for key in HubertConfig.__annotations__ if key in config}
    loaded: Any = HubertModel.from_pretrained(
        folder, config=HubertConfig(**known), dtype=torch.float32, output_loading_info=True
    )
    model, report = loaded
    wrong = sorted(report["missing_keys"]) + sorted(report["unexpected_keys"])
    if wrong:
        raise WeightsError(
            f"the weights in {folder} do not fit {REPOSITORY}: missing or unexpected {', '.join(wrong[:3])}; "
            "download all of them again"
        )
    return model.eval().requires_grad_(requires_grad=False)


@hookimpl
def register_encoders(register: Callable[[EncoderInfo], None]) -> None:
    """Register `mert`, which is the last layer, and each layer by its number."""
    layers = {"mert": LAYERS} | {f"mert-{layer}": layer for layer in range(1, LAYERS + 1)}
    for name, layer in layers.items():
        register(
            EncoderInfo(
                name=name,
                modalities=frozenset({Modality.AUDIO}),
                dim=DIM,
                sample_rate=SAMPLE_RATE,
                licence="CC-BY-NC-4.0",
                summary=f"MERT v1 95M, hidden layer {layer} of {LAYERS} (weights for non-commercial use only)",
                factory=partial(load_encoder, layer),
                weights=(Weights(REPOSITORY, FILES, "mert"),),
            )
        )
