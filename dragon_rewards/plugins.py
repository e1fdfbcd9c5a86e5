"""Loads plugins one at a time: what one of them breaks is recorded under its name, and the others keep working."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any, Protocol

from pluggy import PluginManager

from dragon_rewards.names import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

DISTRIBUTION = "dragon-rewards"
FAMILY = "dragon_"  # what the names of all entry-point groups of this project begin with


class Descriptor(Protocol):
    """Anything that is registered under a name."""

    @property
    def name(self) -> str:
        """The name it is looked up by."""
        ...


@dataclass(frozen=True)
class PluginGroup:
    """What a kind of plugin may register, and where its plugins are found.

    Attributes:
        project: the name of the entry-point group and of the pluggy markers.
        hookspecs: the module that declares the hooks.
        descriptors: hook name -> type of descriptor it takes.
        builtins: modules of built-in plugins.
        restrict: the environment variable that lists the only plugins or packages to load, separated by commas.
    """

    project: str
    hookspecs: ModuleType
    descriptors: Mapping[str, type[Descriptor]]
    builtins: tuple[str, ...]
    restrict: str


@dataclass(frozen=True)
class PluginRecord:
    """A plugin, the package it came in and that package's version."""

    name: str
    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} ({self.package} {self.version})"


class Stage(StrEnum):
    """How far a plugin came."""

    FIND = "find"
    IMPORT = "import"
    HOOKS = "hooks"
    REGISTRATION = "registration"


@dataclass(frozen=True)
class PluginFailure:
    """Why a plugin was left out; nothing that it registered was taken."""

    plugin: str
    package: str
    version: str
    stage: Stage
    reason: str
    traceback: str

    def __str__(self) -> str:
        package = f"{self.package} {self.version}".strip()  # a plugin that is not installed has no version
        return f"{self.plugin} ({package}), {self.stage}: {self.reason}"


@dataclass(frozen=True)
class Loaded:
    """All that the plugins of a group registered.

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


@dataclass(frozen=True)
class _Source:
    """A plugin that has not been imported yet."""

    record: PluginRecord
    load: Callable[[], object]


def load_plugins(group: PluginGroup) -> Loaded:
    """Load built-in, then installed plugins, in the order of their packages' names.

    Plugins that print while they load write to stderr, so that stdout stays fit for a machine to read.
    """
    loader = _Loader(group)
    with redirect_stdout(sys.stderr):
        for source in [*_builtin(group), *_installed(group, loader)]:
            loader.add(source)
    return Loaded(loader.descriptors, loader.owners, tuple(loader.plugins), tuple(loader.failures))


def _builtin(group: PluginGroup) -> list[_Source]:
    version = metadata.version(DISTRIBUTION)
    return [_Source(PluginRecord(name, DISTRIBUTION, version), partial(import_module, name)) for name in group.builtins]


def _installed(group: PluginGroup, loader: _Loader) -> list[_Source]:
    found = [_source(entry) for entry in metadata.entry_points(group=group.project)]
    found.sort(key=lambda source: (source.record.package, source.record.name))
    allowed = os.environ.get(group.restrict)
    if allowed is None:
        return found
    return _restricted(found, set(map(str.strip, allowed.split(","))) - {""}, group.restrict, loader)


def _source(entry: metadata.EntryPoint) -> _Source:
    package, version = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown package", "unknown version")
    return _Source(PluginRecord(entry.name, package, version), entry.load)


def _restricted(found: list[_Source], allowed: set[str], variable: str, loader: _Loader) -> list[_Source]:
    for name in sorted(allowed - _installed_names()):
        reason = f"{variable} names it, but no plugin or package of this name is installed"
        loader.failures.append(PluginFailure(name, "not installed", "", Stage.FIND, reason, ""))
    return [source for source in found if {source.record.name, source.record.package} & allowed]


def _installed_names() -> set[str]:
    """Plugins and packages of every group of this project: one variable may restrict several groups."""
    entries = [entry for found in metadata.distributions() for entry in found.entry_points]
    records = [_source(entry).record for entry in entries if entry.group.startswith(FAMILY)]
    return {name for record in records for name in (record.name, record.package)}


@dataclass
class _Loader:
    """Takes plugins one by one; `add` never raises for what a plugin did."""

    group: PluginGroup
    descriptors: dict[str, dict[str, Any]] = field(init=False)
    owners: dict[tuple[str, str], PluginRecord] = field(default_factory=dict)
    plugins: list[PluginRecord] = field(default_factory=list)
    failures: list[PluginFailure] = field(default_factory=list)
    stage: Stage = Stage.FIND

    def __post_init__(self) -> None:
        self.descriptors = {hook: {} for hook in self.group.descriptors}
        self.manager = PluginManager(self.group.project)
        self.manager.add_hookspecs(self.group.hookspecs)

    def add(self, source: _Source) -> None:
        """Take all that the plugin registers, or record why nothing of it was taken."""
        try:
            staged = self._staged(source)
        except (Exception, SystemExit) as error:  # noqa: BLE001  a plugin may raise anything
            self._refuse(source.record, error)
        else:
            self._take(source.record, staged)

    def _staged(self, source: _Source) -> list[tuple[str, Descriptor]]:
        self.stage = Stage.IMPORT
        plugin = source.load()
        self.stage = Stage.HOOKS
        self._check_hooks(plugin, str(source.record))
        self.stage = Stage.REGISTRATION
        return self._registrations(plugin)

    def _check_hooks(self, plugin: object, name: str) -> None:
        if plugin is None:
            raise TypeError("its entry point names None, not a module")
        self.manager.register(plugin, name)
        self.manager.check_pending()
        if not self.manager.get_hookcallers(plugin):
            hooks = " or ".join(self.group.descriptors)
            raise TypeError(f"it implements no hook; mark {hooks} with @{self.group.project}.hookimpl")

    def _registrations(self, plugin: object) -> list[tuple[str, Descriptor]]:
        staged: list[tuple[str, Descriptor]] = []
        others = self.manager.get_plugins() - {plugin}
        for hook in self.group.descriptors:
            call = self.manager.subset_hook_caller(hook, others)
            call(register=partial(self._stage, staged, hook))
        return staged

    def _stage(self, staged: list[tuple[str, Descriptor]], hook: str, descriptor: Descriptor) -> None:
        """The `register` that hooks are given: checks a descriptor and keeps it until the plugin is taken."""
        expected = self.group.descriptors[hook]
        if not isinstance(descriptor, expected):
            raise TypeError(f"{hook} takes {expected.__name__}, not {type(descriptor).__name__}: {descriptor!r}")
        check_name(descriptor.name)
        if descriptor.name in self.descriptors[hook]:
            owner = self.owners[hook, descriptor.name]
            raise ValueError(f"{hook}: '{descriptor.name}' is taken by {owner}")
        if descriptor.name in [other.name for taken, other in staged if taken == hook]:
            raise ValueError(f"{hook}: '{descriptor.name}' is registered twice")
        staged.append((hook, descriptor))

    def _take(self, record: PluginRecord, staged: Iterable[tuple[str, Descriptor]]) -> None:
        self.plugins.append(record)
        for hook, descriptor in staged:
            self.descriptors[hook][descriptor.name] = descriptor
            self.owners[hook, descriptor.name] = record

    def _refuse(self, record: PluginRecord, error: BaseException) -> None:
        if self.manager.has_plugin(str(record)):
            self.manager.unregister(name=str(record))  # or its misspelt hook would be held against the next plugin
        reason = f"{type(error).__name__}: {error}"
        trace = "".join(traceback.format_exception(error))
        self.failures.append(PluginFailure(record.name, record.package, record.version, self.stage, reason, trace))
