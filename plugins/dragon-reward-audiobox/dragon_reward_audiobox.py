"""Audiobox aesthetics (Tjandra et al., "Meta Audiobox Aesthetics", arXiv 2502.05139) rates a clip in four ways.

A window of 10 s passes through WavLM. Each axis has its own mixture of WavLM's layers, averages it over time, and rates
the normalised average with a small network. The released weights are loaded into `transformers.WavLMModel`.
"""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from dragon_rewards import (
    Direction,
    EncoderInfo,
    Modality,
    ReductionInfo,
    RewardKind,
    Weights,
    WeightsError,
    find_weights,
    fingerprint_files,
    hookimpl,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn
    from transformers import WavLMConfig

    from dragon_rewards import Embeddings

REPOSITORY, CONFIG, WEIGHTS = "facebook/audiobox-aesthetics", "config.json", "model.safetensors"
SIZE = 400_000_000  # bytes, about
AXES = {
    "CE": "content enjoyment",
    "CU": "content usefulness",
    "PC": "production complexity",
    "PQ": "production quality",
}
SAMPLE_RATE, WINDOW = 16_000, 160_000
STRIDE, FIELD = 320, 400  # samples between the frames of WavLM, and seen by one
FRAMES = (WINDOW - FIELD) // STRIDE + 1  # 499
BATCH = 8  # windows per pass, whose first activations take 65 MB each

# Names in the released weights, which are microsoft/unilm's -> names in transformers.WavLMModel.
RENAMED = {
    r"^mask_emb$": "masked_spec_embed",
    r"^layer_norm\.": "feature_projection.layer_norm.",
    r"^post_extract_proj\.": "feature_projection.projection.",
    r"^(feature_extractor\.conv_layers\.\d+)\.0\.": r"\1.conv.",
    r"^(feature_extractor\.conv_layers\.\d+)\.2\.": r"\1.layer_norm.",
    r"^encoder\.pos_conv\.0\.weight_g$": "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    r"^encoder\.pos_conv\.0\.weight_v$": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
    r"^encoder\.pos_conv\.0\.bias$": "encoder.pos_conv_embed.conv.bias",
    r"^(encoder\.layers\.\d+)\.self_attn\.grep_a$": r"\1.attention.gru_rel_pos_const",
    r"^(encoder\.layers\.\d+)\.self_attn\.grep_linear\.": r"\1.attention.gru_rel_pos_linear.",
    r"^(encoder\.layers\.\d+)\.self_attn\.relative_attention_bias\.": r"\1.attention.rel_attn_embed.",
    r"^(encoder\.layers\.\d+)\.self_attn\.": r"\1.attention.",
    r"^(encoder\.layers\.\d+)\.self_attn_layer_norm\.": r"\1.layer_norm.",
    r"^(encoder\.layers\.\d+)\.fc1\.": r"\1.feed_forward.intermediate_dense.",
    r"^(encoder\.layers\.\d+)\.fc2\.": r"\1.feed_forward.output_dense.",
}


class Audiobox:
    """An encoder whose frames are ratings of each 10 s of a clip, about 1 to 10: CE, CU, PC, PQ.

    The last window is padded with zeros to 10 s, which attention and averages leave out, so that a clip of any length
    is rated, and alike in any batch.
    """

    def __init__(self, folder: Path) -> None:
        """Read `config.json` and `model.safetensors` in a folder.

        Raises:
            WeightsError: a file is damaged, a tensor is missing or left over, or the network is of another kind.
        """
        import torch

        self.identity = fingerprint_files("audiobox-1", [folder / CONFIG, folder / WEIGHTS])  # 1 is this module
        try:
            self.config = read_config(folder / CONFIG)
            self.network = load_network(folder / WEIGHTS, self.config)
            scale = [self.config["target_transform"][axis] for axis in AXES]
            self.mean, self.deviation = torch.tensor([[axis[key] for axis in scale] for key in ("mean", "std")])
        except Exception as error:  # torch, safetensors and json raise errors of many kinds for a damaged file
            raise WeightsError(f"{folder} does not hold {REPOSITORY}; download it again: {error}") from error

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Return the float32 frames (clips, windows, 4) of mono audio (clips, samples) at 16 kHz, whose mean rates it.

        For the ratings s_w of each window, their mean m weighted by the seconds of each window, and the seconds a_w of
        a window over the seconds of an average one:

            frame_w = m + a_w (s_w - m)

        The plain mean of the frames is m, and they are the ratings themselves where all windows are full.
        """
        import torch

        if not audio.shape[1]:
            return audio.new_zeros(len(audio), 0, len(AXES))
        windows = audio.split(WINDOW, dim=1)
        ratings = torch.stack([self.rate(window) for window in windows], dim=1)
        seconds = torch.tensor([window.shape[1] for window in windows], device=audio.device) / SAMPLE_RATE
        share = (seconds / seconds.mean()).unsqueeze(-1)
        mean = (share * ratings).mean(1, keepdim=True)
        frames: Tensor = mean + share * (ratings - mean)
        return frames

    def rate(self, audio: Tensor) -> Tensor:
        """Return the ratings (clips, 4) of at most 10 s of audio (clips, samples)."""
        import torch

        ratings = torch.cat([self._heads(self._pooled(clips)) for clips in audio.split(BATCH)])
        scaled: Tensor = ratings * self.deviation + self.mean
        return scaled

    def _pooled(self, audio: Tensor) -> Tensor:
        """Return the average of each of WavLM's layers over the frames that hold audio: (layers, clips, width)."""
        import torch

        samples = audio.shape[1]
        padded = torch.nn.functional.pad(audio, (0, WINDOW - samples))
        frames = min(-(-samples // STRIDE), FRAMES)
        # The original keeps the frames whose hop holds a sample; WavLMModel those whose whole field is marked.
        mask = (torch.arange(WINDOW, device=audio.device) < (frames - 1) * STRIDE + FIELD).expand(len(audio), -1)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")  # WavLMModel's own doing
            output = self.network["wavlm_model"](padded, attention_mask=mask.long(), output_hidden_states=True)
        return torch.stack([layer[:, :frames].mean(1) for layer in output.hidden_states])

    def _heads(self, pooled: Tensor) -> Tensor:
        """Return the ratings (clips, 4), in training units, of pooled layers (layers, clips, width)."""
        import torch

        columns = []
        for axis in AXES:
            mixed = torch.einsum("l,lcw->cw", self.network.get_parameter(f"layer_weights.{axis}").softmax(-1), pooled)
            if self.config["normalize_embed"]:
                mixed = torch.nn.functional.normalize(mixed, dim=-1)
            columns.append(self.network.get_submodule(f"proj_layer.{axis}")(mixed))
        return torch.cat(columns, dim=-1)


def read_config(path: Path) -> dict[str, Any]:
    """Read the settings of the heads from a file.

    Raises:
        ValueError: the settings ask for what this module does not compute.
        KeyError: a setting is missing.
    """
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for key, supported in {"use_weighted_layer_sum": True, "proj_act_fn": "gelu", "output_dim": 1}.items():
        if config[key] != supported:
            raise ValueError(f"{path.name}: {key} must be {supported!r}, not {config[key]!r}")
    return config


def load_network(path: Path, config: Mapping[str, Any]) -> nn.ModuleDict:
    """Load WavLM, the mixtures of its layers and the heads, frozen; every tensor of the file has its place."""
    import torch
    from safetensors.torch import load_file
    from torch import nn
    from transformers import WavLMModel

    state = load_file(path)
    sizes = wavlm_config(state)
    with torch.device("meta"):  # 94 million values that need no initialisation
        mixture = {axis: nn.Parameter(torch.empty(sizes.num_hidden_layers + 1)) for axis in AXES}
        heads = {axis: head(sizes.hidden_size, config) for axis in AXES}
        parts = {"layer_weights": nn.ParameterDict(mixture), "proj_layer": nn.ModuleDict(heads)}
        network = nn.ModuleDict({"wavlm_model": WavLMModel(sizes), **parts})
    network.load_state_dict({renamed(name): tensor for name, tensor in state.items()}, assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def wavlm_config(state: Mapping[str, Tensor]) -> WavLMConfig:
    """Return the sizes of WavLM, which the release does not record, from the shapes of its tensors."""
    from transformers import WavLMConfig

    inner, width = state["wavlm_model.encoder.layers.0.fc1.weight"].shape
    buckets, heads = state["wavlm_model.encoder.layers.0.self_attn.relative_attention_bias.weight"].shape
    return WavLMConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_attention_heads=heads,
        num_buckets=buckets,
        num_hidden_layers=sum(name.endswith(".fc1.weight") for name in state),
        conv_dim=[len(state["wavlm_model.feature_extractor.conv_layers.0.0.weight"])] * 7,
    )


def head(width: int, config: Mapping[str, Any]) -> nn.Sequential:
    """Build the network of one axis, which maps a pooled embedding (clips, width) to a rating (clips, 1)."""
    from torch import nn

    hidden: list[nn.Module] = []
    for _ in range(config["proj_num_layer"] - 1):
        norm = [nn.LayerNorm(width)] if config["proj_ln"] else []
        dropout = [nn.Dropout(config["proj_dropout"])] if config["proj_dropout"] else []  # holds a place in the names
        hidden += [nn.Linear(width, width), *norm, nn.GELU(), *dropout]
    return nn.Sequential(*hidden, nn.Linear(width, 1))


def renamed(name: str) -> str:
    """Return the name that a tensor of the release has in this network."""
    prefix, _, rest = name.partition(".")
    if prefix != "wavlm_model":
        return name
    for pattern, replacement in RENAMED.items():
        rest, found = re.subn(pattern, replacement, rest)
        if found:
            break
    return f"{prefix}.{rest}"


@dataclass(frozen=True)
class Axis:
    """The reduction to one of the four ratings, averaged over a clip's frames.

    Attributes:
        column: the number of the axis, in the order of `AXES`.
    """

    column: int

    def __call__(self, clips: Embeddings, reference: object) -> Tensor:  # noqa: ARG002
        """Return the ratings of the clips, (clips,), about 1 to 10."""
        import torch

        return torch.stack([frames[:, self.column].mean() for frames in clips.frames])


@hookimpl
def register_encoders(register: Callable[[EncoderInfo], None]) -> None:
    """Register the encoder `audiobox` and the weights that it needs."""
    summary = "Audiobox aesthetics, four ratings per 10 s; needs weights"

    def build() -> Audiobox:
        return Audiobox(find_weights("audiobox", REPOSITORY, [CONFIG, WEIGHTS]))

    weights = Weights(REPOSITORY, (CONFIG, WEIGHTS), "audiobox", SIZE)
    audio = frozenset({Modality.AUDIO})
    register(EncoderInfo("audiobox", audio, len(AXES), SAMPLE_RATE, "CC-BY-4.0", summary, build, weights=(weights,)))


@hookimpl
def register_reductions(register: Callable[[ReductionInfo], None]) -> None:
    """Register one reduction for each of the four axes."""
    for column, (axis, meaning) in enumerate(AXES.items()):
        register(
            ReductionInfo(
                name=f"audiobox-{axis.lower()}",
                kind=RewardKind.INSTANCE,
                direction=Direction.HIGHER,
                summary=f"{meaning} as rated by Audiobox aesthetics",
                factory=partial(Axis, column),
                encoders=frozenset({"audiobox"}),
            )
        )
