"""Refuse a run that cannot fit into memory, and find the nearest settings that would."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import ConfigError, DragonError
from dragon_train.estimate.estimate import EstimateError, capacity, estimate

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from dragon_train.config import TrainConfig
    from dragon_train.descriptors import PipelineInfo
    from dragon_train.estimate.estimate import Estimate

SAMPLED = ("sampling", "decoding", "encoding")


def check_fits(info: PipelineInfo, config: TrainConfig, device: torch.device) -> None:
    """Refuse a run that does not fit into a device's memory.

    A run that cannot be counted, or whose device does not tell its memory, may try.

    Raises:
        ConfigError: it does not fit; the message has the settings that would, or what it takes at least.
    """
    room, cuda = capacity(device), device.type == "cuda"
    if room is None:
        return
    try:
        found = estimate(info, config, None, cuda=cuda)
        if found.peak > room:
            raise ConfigError(refusal(info, config, found, room, str(device), cuda=cuda))
    except EstimateError:
        return


def refusal(info: PipelineInfo, config: TrainConfig, found: Estimate, capacity: int, where: str, *, cuda: bool) -> str:
    """Write what is said of a run that does not fit, with the settings that would."""
    phase = max(found.memory, key=lambda name: found.memory[name])
    need = f"the run takes {size(found.peak)} in {phase}, and {where} has {size(capacity)}"
    for changes, fitting in easier(info, config, found, capacity, cuda=cuda):
        if fitting.peak <= capacity:
            said = " and ".join(f"{key} = {toml(value)}" for key, value in changes.items())
            return f"{need}; it would fit, in {size(fitting.peak)}, with {said}"
        found = fitting
    return f"{need}; with the least settings it takes {size(found.peak)}: choose a smaller pipeline or a larger card"


def easier(
    info: PipelineInfo, config: TrainConfig, found: Estimate, capacity: int, *, cuda: bool
) -> Iterator[tuple[dict[str, Any], Estimate]]:
    """Yield settings that take less and less memory, each with its estimate; first what costs nothing but time."""
    changes: dict[str, Any] = {}

    def tried(**values: Any) -> Estimate:
        changes.update(values)
        return estimate(info, replace(config, **changes), None, cuda=cuda)

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
