"""What a denoiser of a public pipeline takes: weights, adapters, activations and arithmetic, counted without weights.

python reports/guide/memory.py     # a minute on one core; writes memory.csv and memory.md

The denoiser of the real configuration runs on tensors that have shapes and no contents, as `dragon estimate` counts.
What autograd keeps for the backward pass is what is alive after the forward pass, without the weights. Nothing runs on
a GPU: kernels there may keep more, and the allocator rounds up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import pandas as pd
import torch
from peft import LoraConfig, inject_adapter_in_model

from dragon_rewards.storage.results import write_table
from dragon_train.estimate.counting import Counting
from dragon_train.estimate.hollow import empty, hollow_mode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor, nn

    from dragon_train.estimate.counting import Count

HERE = Path(__file__).parent
RANK = 8
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
TEXT = 128  # tokens of a prompt; pipelines pad to 64 to 256


@dataclass(frozen=True)
class Case:
    """A denoiser, and one clip's inputs.

    Attributes:
        name: of the pipeline.
        seconds: the length of the clip.
        kind: the denoiser's class in diffusers.
        config: its settings where they are not the class's defaults.
        inputs: makes its arguments.
        targets: of the adapters, as the pipeline's adapter has them.
    """

    name: str
    seconds: float
    kind: str
    config: Mapping[str, Any]
    inputs: Callable[[], dict[str, Tensor]]
    targets: Sequence[str] = PROJECTIONS


def stable_audio() -> dict[str, Any]:
    """1,024 frames at 21.5 Hz."""
    return {
        "hidden_states": torch.empty(1, 64, 1024),
        "timestep": torch.empty(1),
        "encoder_hidden_states": torch.empty(1, TEXT + 2, 768),
        "global_hidden_states": torch.empty(1, 1, 1536),
        "rotary_embedding": (torch.empty(1025, 32), torch.empty(1025, 32)),
    }


def stable_audio_3() -> dict[str, Any]:
    """10 s at 10.77 Hz (44,100 / 4,096)."""
    return {
        "hidden_states": torch.empty(1, 256, 108),
        "timestep": torch.empty(1),
        "encoder_hidden_states": torch.empty(1, 256, 768),
        "global_hidden_states": torch.empty(1, 768),
        "local_add_cond": torch.empty(1, 257, 108),
    }


def ace_step() -> dict[str, Any]:
    """60 s at 25 Hz."""
    return {
        "hidden_states": torch.empty(1, 1500, 64),
        "timestep": torch.empty(1),
        "timestep_r": torch.empty(1),
        "encoder_hidden_states": torch.empty(1, TEXT, 2048),
        "context_latents": torch.empty(1, 1500, 128),
    }


ACE_STEP = "AceStepTransformer1DModel"
XL = {  # as its model card says; feed-forward size: https://huggingface.co/scragnog/ace-step-1.5-gguf-merge-models
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "encoder_hidden_size": 2048,
}
CASES = (
    Case("stable-audio-open", 47.6, "StableAudioDiTModel", {}, stable_audio),
    Case("stable-audio-3", 10, "StableAudio3DiTModel", {}, stable_audio_3, ("to_qkv", "to_q", "to_kv", "to_out")),
    Case("ace-step (2B)", 60, ACE_STEP, {}, ace_step),
    Case("ace-step (XL, 4B)", 60, ACE_STEP, XL, ace_step),
)


def adapted(case: Case) -> tuple[Any, int]:
    """The denoiser with its adapters, without values, and how many parameters it has without them."""
    with torch.device("meta"):
        denoiser = getattr(diffusers, case.kind)(**case.config).requires_grad_(requires_grad=False)
        weights = sum(p.numel() for p in denoiser.parameters())
        config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(case.targets))
        denoiser = inject_adapter_in_model(config, denoiser)
    empty(denoiser, hollow_mode())
    return denoiser, weights


def forward(denoiser: nn.Module, inputs: dict[str, Tensor]) -> Count:
    """A forward pass, and what is alive after it."""
    with Counting() as counting:
        answer = denoiser(**inputs, return_dict=False)[0]
    assert answer.requires_grad
    return counting.count


def measured(case: Case) -> dict[str, Any]:
    """One row, of one clip in float32."""
    denoiser, weights = adapted(case)
    inputs = case.inputs()
    plain = forward(denoiser, inputs)
    denoiser.train()
    denoiser.enable_gradient_checkpointing()
    return {
        "pipeline": case.name,
        "seconds": case.seconds,
        "parameters_millions": weights / 1e6,
        "lora_millions": sum(p.numel() for p in denoiser.parameters() if p.requires_grad) / 1e6,
        "activations_gb": plain.kept / 1e9,
        "checkpointed_gb": forward(denoiser, inputs).kept / 1e9,
        "tflop_per_call": plain.flops / 1e12,
    }


def main() -> None:
    """Write the table."""
    write_table(HERE / "memory", pd.DataFrame([measured(case) for case in CASES]))


if __name__ == "__main__":
    main()
