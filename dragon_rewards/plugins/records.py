"""Records of plugins: what a group of plugins may register, which plugin is which, and why one failed to load."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from traceback import TracebackException
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import ModuleType


class Descriptor(Protocol):
    """A light description of a part, such as `EncoderInfo`, that a plugin registers under the part's name."""

    @property
    def name(self) -> str:
        """The name under which the part is registered and looked up."""
        ...


@dataclass(frozen=True)
class PluginGroup:
    """A group of plugins: what they may register, and where they are found.

    Attributes:
        project: the name of the entry-point group and of the pluggy markers.
        hookspecs: the module that declares the hooks.
        descriptors: hook name -> type of descriptor it takes.
        builtins: modules of built-in plugins, which load first.
        restrict: the environment variable that lists the only plugins or packages to load, separated by commas.
        fallbacks: modules of built-in plugins that load last, so that installed plugins can take the same names first.
    """

    project: str
    hookspecs: ModuleType
    descriptors: Mapping[str, type[Descriptor]]
    builtins: tuple[str, ...]
    restrict: str
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class PluginRecord:
    """The identity of a plugin: its own name, the package it came in, and the version of that package."""

    name: str
    package: str
    version: str

    def __str__(self) -> str:
        package = f"{self.package} {self.version}".strip()  # a plugin that is not installed has no version
        return f"{self.name} ({package})"


class Stage(StrEnum):
    """The step of loading that a plugin had reached when it failed."""

    FIND = "find"
    IMPORT = "import"
    HOOKS = "hooks"
    REGISTRATION = "registration"


@dataclass(frozen=True)
class PluginFailure:
    """The reason why a plugin was left out; nothing that it registered was taken.

    Attributes:
        plugin: the name of the plugin.
        package: the package it came in.
        version: the version of that package; empty where it is not known.
        stage: the step at which it failed.
        reason: the type and message of the error.
        traceback: the full traceback as text; empty where there is none.
    """

    plugin: str
    package: str
    version: str
    stage: Stage
    reason: str
    traceback: str

    def __str__(self) -> str:
        return f"{PluginRecord(self.plugin, self.package, self.version)}, {self.stage}: {self.reason}"

    @classmethod
    def of_folder(cls, name: str, folder: Path, error: Exception) -> PluginFailure:
        """Return why what a folder of the user's holds was left out."""
        trace = "".join(TracebackException.from_exception(error).format())
        return cls(name, str(folder), "", Stage.REGISTRATION, str(error), trace)


@dataclass(frozen=True)
class Loaded:
    """All that the plugins of a group registered, and what became of each plugin.

    Attributes:
        descriptors: hook name -> name -> descriptor.
        owners: (hook name, name) -> the plugin that registered it.
        plugins: every plugin that loaded.
        failures: every plugin that did not.
    """

    descriptors: Mapping[str, Mapping[str, Any]]
    owners: Mapping[tuple[str, str], PluginRecord]
    plugins: tuple[PluginRecord, ...]
    failures: tuple[PluginFailure, ...]
