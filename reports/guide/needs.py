"""What published models take of a card, counted as `dragon estimate` does, from their settings alone.

python reports/guide/needs.py [MODEL ...]    # minutes on one core; prints what `dragon_train/models.toml` is to state

A pipeline's settings are those of `full_size.py`, which says where they are from and what is assumed, and XL's of
`memory.py`; no network gets weights. Counted is a CUDA device, with LoRA in bf16, gradient checkpointing, a pair and a
clip at a time, clips as long as the adapter makes them, and the embedded CLAP as the encoder of the reward. The models
of the table that are not here have settings that could not be read.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import diffusers
import torch
from full_size import ace_step_2b, on_cpu, stable_audio_3_medium, stable_audio_open
from memory import XL

from dragon_train.config import TrainConfig
from dragon_train.estimate.estimate import estimate
from dragon_train.objectives.configured import completed
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dragon_train.estimate.estimate import Estimate

REWARD = "dataset-fad:clap@airs"
LEAST: dict[str, Any] = {
    "precision": "bf16",
    "gradient_checkpointing": True,
    "microbatch": 1,
    "sampling_batch": 1,
}


def ace_step(settings: Mapping[str, Any], *, turbo: bool) -> Any:
    """60 s of 48 kHz stereo, with a denoiser of these settings; a turbo one is sampled without guidance."""
    pipeline = ace_step_2b()
    pipeline.register_modules(transformer=diffusers.AceStepTransformer1DModel(**settings, is_turbo=turbo))
    return pipeline


def stable_audio_3_base() -> Any:
    """10 s of 44.1 kHz stereo, with guidance, as its scheduler does not say that it is post-trained."""
    pipeline = stable_audio_3_medium()
    pipeline.register_modules(scheduler=on_cpu(diffusers.FlowMatchEulerDiscreteScheduler, num_train_timesteps=1))
    return pipeline


BUILDERS: dict[str, Callable[[], Any]] = {
    "stable-audio-open": stable_audio_open,
    "stable-audio-3": stable_audio_3_medium,
    "stable-audio-3-medium-base": stable_audio_3_base,
    "ace-step": partial(ace_step, XL, turbo=True),
    "ace-step-xl-base": partial(ace_step, XL, turbo=False),
    "ace-step-turbo": partial(ace_step, {}, turbo=True),
    "ace-step-base": partial(ace_step, {}, turbo=False),
}


def write_settings(name: str, folder: Path) -> None:
    """Write a pipeline as `save_pretrained` does, but for its weights, of which there are none."""
    with torch.device("meta"):
        pipeline = BUILDERS[name]()
    there = {part: component for part, component in pipeline.components.items() if component is not None}
    for part, component in there.items():
        save = getattr(component, "save_config", None) or getattr(component, "config", component).save_pretrained
        save(folder / part)
    pipeline.save_config(folder)


def counted(name: str) -> Estimate:
    """The estimate of a run with the least settings."""
    with TemporaryDirectory() as folder:
        write_settings(name, Path(folder))
        config = TrainConfig(REWARD, pipeline=folder, **LEAST)
        return estimate(load_train_registry().pipeline(folder), completed(config), None, cuda=True)


def needs(name: str) -> dict[str, float]:
    """GB of 10^9 bytes, rounded up to a tenth: to tune the model, and to sample and decode a clip."""
    found = counted(name)
    sampled = max(found.memory["sampling"], found.memory["decoding"])
    return {key: math.ceil(size / 1e8) / 10 for key, size in {"tune_gb": found.peak, "sample_gb": sampled}.items()}


def main() -> None:
    """Print the lines of the table."""
    for name in sys.argv[1:] or BUILDERS:
        print(f"[{name}]", *(f"{key} = {value}" for key, value in needs(name).items()), sep="\n", flush=True)


if __name__ == "__main__":
    main()
