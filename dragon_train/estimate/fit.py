"""Refuse a run that cannot fit, and find the nearest settings that would."""

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
    """Whether a run fits into a device's memory; one that cannot be counted, or whose device does not tell, may try.

    Raises:
        ConfigError: it does not, with the settings that would fit, or with what it takes at least.
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
    """What is said of a run that does not fit."""
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
    """Settings that take less and less memory, those first that cost nothing but time, each with its estimate."""
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
    """Half of the microbatch, or of the clips at once, or both, as the phases that do not fit have them."""
    over = {phase for phase, taken in found.memory.items() if taken > capacity}
    microbatch = config.microbatch or min(config.minibatch, config.prompts_per_step)
    lower = {"microbatch": microbatch // 2} if "learning" in over else {}
    if over & {*SAMPLED}:
        lower["sampling_batch"] = found.batch // 2
    return {key: value for key, value in lower.items() if value}


def size(value: int) -> str:
    """In GB.

    >>> size(23_500_000_000)
    '23.5 GB'
    """
    return f"{value / 1e9:.3g} GB"


def toml(value: object) -> str:
    """As a configuration has it.

    >>> toml(True), toml(2), toml("bf16")
    ('true', '2', '"bf16"')
    """
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
