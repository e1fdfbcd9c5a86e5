"""What can be tuned and how: pipelines and objectives by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dragon_rewards.errors import UnknownNameError
from dragon_rewards.plugins import PluginGroup, load_plugins
from dragon_train import hookspecs
from dragon_train.catalogue import AdapterInfo, ObjectiveInfo, PipelineInfo
from dragon_train.pipelines.pretrained import load_pretrained, on_hub

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dragon_rewards.plugins import PluginFailure, PluginRecord

T = TypeVar("T")

GROUP = PluginGroup(
    project=hookspecs.PROJECT,
    hookspecs=hookspecs,
    descriptors={
        "register_pipelines": PipelineInfo,
        "register_adapters": AdapterInfo,
        "register_objectives": ObjectiveInfo,
    },
    builtins=("dragon_train.builtin",),
    restrict="DRAGON_REWARDS_PLUGINS",
)


@dataclass(frozen=True)
class TrainRegistry:
    """Everything that trainer plugins registered."""

    pipelines: Mapping[str, PipelineInfo]
    adapters: Mapping[str, AdapterInfo]
    objectives: Mapping[str, ObjectiveInfo]
    plugins: tuple[PluginRecord, ...]
    failures: tuple[PluginFailure, ...]

    def pipeline(self, name: str) -> PipelineInfo:
        """The pipeline of this name, or the one saved in this folder or under this name (owner/name) on the hub.

        Raises:
            UnknownNameError: it is none of them.
        """
        if name not in self.pipelines and ("/" in name or Path(name).is_dir()):
            load, weights = (
                partial(load_pretrained, name, self.adapters),
                () if Path(name).is_dir() else (on_hub(name),),
            )
            return PipelineInfo(name, "loaded by diffusers", "see its own", load, weights)
        return self._find("pipeline", name, self.pipelines)

    def objective(self, name: str) -> ObjectiveInfo:
        """Raises UnknownNameError."""
        return self._find("objective", name, self.objectives)

    def _find(self, what: str, name: str, known: Mapping[str, T]) -> T:
        if name not in known:
            raise UnknownNameError(what, name, known, map(str, self.failures))
        return known[name]


@cache
def load_train_registry() -> TrainRegistry:
    """All built-in and installed trainer parts; loaded once per process."""
    loaded = load_plugins(GROUP)
    return TrainRegistry(
        pipelines=loaded.descriptors["register_pipelines"],
        adapters=loaded.descriptors["register_adapters"],
        objectives=loaded.descriptors["register_objectives"],
        plugins=loaded.plugins,
        failures=loaded.failures,
    )
