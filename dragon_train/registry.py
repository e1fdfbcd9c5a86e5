"""Find what can be tuned and how: pipelines, adapters and objectives by name, from this package and from plugins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dragon_rewards.errors import DragonError, UnknownNameError
from dragon_rewards.guard import guarded, reason_of
from dragon_rewards.plugins import PluginGroup, load_plugins
from dragon_train import hookspecs
from dragon_train.descriptors import AdapterInfo, ObjectiveInfo, PipelineInfo
from dragon_train.pipelines.pretrained import adapter_for, load_pretrained, on_hub, read_index

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from dragon_rewards.plugins import PluginFailure, PluginRecord

T = TypeVar("T")
Part = TypeVar("Part", PipelineInfo, ObjectiveInfo)

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
    """Everything that trainer plugins registered.

    Attributes:
        pipelines: the pipelines by name.
        adapters: the adapters by name.
        objectives: the objectives by name.
        owners: the plugin of each part, by its hook (such as `register_pipelines`) and the part's name.
        plugins: the plugins that were loaded.
        failures: the plugins that could not be loaded, with the reason.
    """

    pipelines: Mapping[str, PipelineInfo]
    adapters: Mapping[str, AdapterInfo]
    objectives: Mapping[str, ObjectiveInfo]
    owners: Mapping[tuple[str, str], PluginRecord]
    plugins: tuple[PluginRecord, ...]
    failures: tuple[PluginFailure, ...]

    def pipeline(self, name: str) -> PipelineInfo:
        """Return the pipeline of this name, or the one saved in this folder or under this name (owner/name) on the hub.

        Raises:
            UnknownNameError: it is none of them.
        """
        if name not in self.pipelines and ("/" in name or Path(name).is_dir()):
            load, weights = (
                partial(load_pretrained, name, self.adapters),
                () if Path(name).is_dir() else (on_hub(name),),
            )
            return PipelineInfo(name, "loaded by diffusers", "see its own", load, weights)
        return self._built(self._find("pipeline", name, self.pipelines), "pipeline")

    def columns(self, name: str) -> Collection[str]:
        """Return the columns of a table of prompts that a pipeline takes beside the prompt.

        Raises:
            DragonError: there is no such pipeline, or no adapter takes it.
        """
        if name in self.pipelines:
            adapter = self.adapters.get(self.pipelines[name].adapter)
        else:
            adapter = adapter_for(name, read_index(name), self.adapters)
        return adapter.columns if adapter else ()

    def objective(self, name: str) -> ObjectiveInfo:
        """Return the objective of this name.

        Raises:
            UnknownNameError: no plugin registered it.
        """
        return self._built(self._find("objective", name, self.objectives), "objective")

    def _built(self, info: Part, what: str) -> Part:
        """Return the part with a factory that, if it fails, names the part and its plugin."""
        owner = self.owners[f"register_{what}s", info.name]

        def refusal(error: BaseException) -> DragonError:
            return DragonError(f"{what} '{info.name}' of {owner} could not be built: {reason_of(error)}")

        return replace(info, factory=partial(_guarded, info.factory, refusal))

    def _find(self, what: str, name: str, known: Mapping[str, T]) -> T:
        if name not in known:
            raise UnknownNameError(what, name, known, map(str, self.failures))
        return known[name]


def _guarded(factory: Callable[..., Any], refusal: Callable[[BaseException], DragonError], *given: Any) -> Any:
    with guarded(refusal):
        return factory(*given)


@cache
def load_train_registry() -> TrainRegistry:
    """Load all built-in and installed trainer parts; they are loaded once per process."""
    loaded = load_plugins(GROUP)
    return TrainRegistry(
        pipelines=loaded.descriptors["register_pipelines"],
        adapters=loaded.descriptors["register_adapters"],
        objectives=loaded.descriptors["register_objectives"],
        owners=loaded.owners,
        plugins=loaded.plugins,
        failures=loaded.failures,
    )
