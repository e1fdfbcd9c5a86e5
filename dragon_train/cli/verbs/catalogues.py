"""`dragon list pipelines`, `dragon list objectives`, and the trainer's plugins in `dragon plugins`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_train.cli.verbs.doctor import PARTS
from dragon_train.cli.verbs.listing import list_command
from dragon_train.cli.verbs.plugins import SOURCES
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from dragon_train.cli.verbs.listing import Row


def pipelines() -> list[Row]:
    """Diffusion pipelines that can be tuned."""
    infos = load_train_registry().pipelines.values()
    return [{"name": info.name, "licence": info.licence, "summary": info.summary} for info in infos]


def adapters() -> list[Row]:
    """Classes of diffusers whose saved pipelines can be tuned: name a folder, or owner/name on the hub."""
    infos = load_train_registry().adapters.values()
    return [{"name": info.name, "pipeline_class": info.pipeline_class, "summary": info.summary} for info in infos]


def objectives() -> list[Row]:
    """Losses that move a policy toward its demonstrations."""
    infos = load_train_registry().objectives.values()
    return [{"name": info.name, "paired_only": info.paired_only, "summary": info.summary} for info in infos]


list_command("pipelines", pipelines, "name", "summary", "licence")
list_command("adapters", adapters, "pipeline_class", "summary", "name")
list_command("objectives", objectives, "name", "summary")
SOURCES.append(load_train_registry)
PARTS.append(lambda: [("pipeline", info.name, info.weights) for info in load_train_registry().pipelines.values()])
