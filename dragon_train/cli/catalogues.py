"""`dragon list pipelines` and `dragon list objectives`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.cli.listing import catalogue
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from dragon_rewards.cli.listing import Row


def pipelines() -> list[Row]:
    """Diffusion pipelines that can be tuned."""
    infos = load_train_registry().pipelines.values()
    return [{"name": info.name, "licence": info.licence, "summary": info.summary} for info in infos]


def objectives() -> list[Row]:
    """Losses that move a policy toward its demonstrations."""
    infos = load_train_registry().objectives.values()
    return [{"name": info.name, "paired_only": info.paired_only, "summary": info.summary} for info in infos]


catalogue("pipelines", pipelines)
catalogue("objectives", objectives)
