"""Runs of the trainer on a pipeline so small that a step takes a tenth of a second."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dragon_rewards.mixture import compose_mixture
from dragon_train.config import TrainConfig
from dragon_train.loop.loop import train
from dragon_train.objectives.configured import make_objective
from dragon_train.registry import load_train_registry
from support.pipelines import build

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from dragon_train.protocols import Policy

CONFIG = TrainConfig(
    "vendi:logmel", lora_rank=2, learning_rate=1e-2, steps=2, prompts_per_step=4, demonstration_steps=2, epochs=1
)
PROMPTS = ["a slow hymn on the organ", "a jig", "a reel on the fiddle", "a march", "an air", "a sad waltz"]
HELDOUT = ["a fast jig", "a hymn", "a polka", "a slow air"]


def tiny_policy(name: str = "stable-audio") -> Policy:
    """The tiny pipeline of an adapter's class, always with the same weights."""
    pipeline = build(name)
    for part in pipeline.components.values():
        if hasattr(part, "eval"):
            part.eval()
    return load_train_registry().adapters[name].factory(pipeline)


def tiny_run(
    config: TrainConfig,
    out: Path,
    policy: Policy | None = None,
    on_step: Callable[[dict[str, float]], None] = lambda _: None,
    device: torch.device | None = None,
) -> list[dict[str, float]]:
    """Train; returns the steps' figures."""
    reward, rows = compose_mixture(config.reward), list[dict[str, float]]()

    def seen(row: dict[str, float]) -> None:
        rows.append(row)
        on_step(row)

    heldout = HELDOUT[: config.heldout_prompts]
    train(config, policy or tiny_policy(), reward, make_objective(config), PROMPTS, out, seen, heldout, device)
    return rows


def figures(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Of steps, without their seconds."""
    return [{key: value for key, value in row.items() if not key.endswith("_s")} for row in rows]


def whole_and_resumed(config: TrainConfig, folder: Path) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """The figures of the steps after the first: of a run in one go, and of one that was stopped there and resumed."""

    def stop(_: dict[str, float]) -> None:
        raise KeyboardInterrupt

    whole = tiny_run(config, folder / "whole")
    with pytest.raises(KeyboardInterrupt):
        tiny_run(config, folder / "halved", on_step=stop)
    return figures(whole[1:]), figures(tiny_run(config, folder / "halved"))
