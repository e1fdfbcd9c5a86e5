"""Refuse a run that cannot fit into memory, and find the nearest settings that would."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import ConfigError, DragonError
from dragon_train.estimate.estimate import EstimateError, capacity, estimate
from dragon_train.estimate.learning import PROMPT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from dragon_train.config import TrainConfig
    from dragon_train.descriptors import PipelineInfo
    from dragon_train.estimate.estimate import Estimate

SAMPLED = ("sampling", "decoding", "encoding")


def check_fits(info: PipelineInfo, config: TrainConfig, device: torch.device, prompt: str = PROMPT) -> None:
    """Refuse a run that does not fit into a device's memory.

    A run that cannot be counted, or whose device does not tell its memory, may try.

    Args:
        info: the pipeline.
        config: the run.
        device: where it would run.
        prompt: a prompt of the run; its columns say how long clips are.

    Raises:
        ConfigError: it does not fit; the message has the settings that would, or what it takes at least.
    """
    room, counted = capacity(device), partial(estimate, info, machine=None, cuda=device.type == "cuda", prompt=prompt)
    if room is None:
        return
    try:
        found = counted(config)
        if found.peak > room:
            raise ConfigError(refusal(config, found, room, str(device), counted))
    except EstimateError:
        return


def refusal(config: TrainConfig, found: Estimate, capacity: int, where: str, counted: Callable[..., Estimate]) -> str:
    """Write what is said of a run that does not fit, with the settings that would."""
    phase = max(found.memory, key=lambda name: found.memory[name])
    need = f"the run takes {size(found.peak)} in {phase}, and {where} has {size(capacity)}"
    for changes, fitting in easier(config, found, capacity, counted):
        if fitting.peak <= capacity:
            said = " and ".join(f"{key} = {toml(value)}" for key, value in changes.items())
            return f"{need}; it would fit, in {size(fitting.peak)}, with {said}"
        found = fitting
    return f"{need}; with the least settings it takes {size(found.peak)}: choose a smaller pipeline or a larger card"


def easier(
    config: TrainConfig, found: Estimate, capacity: int, counted: Callable[..., Estimate]
) -> Iterator[tuple[dict[str, Any], Estimate]]:
    """Yield settings that take less and less memory, each with its estimate; first what costs nothing but time."""
    changes: dict[str, Any] = {}

    def tried(**values: Any) -> Estimate:
        changes.update(values)
        return counted(replace(config, **changes))

    while lower := smaller(replace(config, **changes), found, capacity):
        found = tried(**lower)
        yield changes, found
    for key, value in {"gradient_checkpointing": True, "precision": "bf16", "tuning": "lora"}.items():
        if getattr(config, key) in {"bf16", "fp16", value}:
            continue
        try:
            yield changes, tried(**{key: value})
        except DragonError:
            changes.pop(key)  # this denoiser cannot do it


def smaller(config: TrainConfig, found: Estimate, capacity: int) -> dict[str, int]:
    """Return half of the microbatch, or of the clips at once, or both, as the phases that do not fit need it."""
    over = {phase for phase, taken in found.memory.items() if taken > capacity}
    microbatch = config.microbatch or min(config.minibatch, config.prompts_per_step)
    lower = {"microbatch": microbatch // 2} if "learning" in over else {}
    if over & {*SAMPLED}:
        lower["sampling_batch"] = found.batch // 2
    return {key: value for key, value in lower.items() if value}


def size(value: int) -> str:
    """Write a number of bytes in GB of 10^9 bytes.

    >>> size(23_500_000_000)
    '23.5 GB'
    """
    return f"{value / 1e9:.3g} GB"


def toml(value: object) -> str:
    """Write a value as a configuration has it.

    >>> toml(True), toml(2), toml("bf16")
    ('true', '2', '"bf16"')
    """
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
