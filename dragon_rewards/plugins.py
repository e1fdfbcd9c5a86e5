"""Loads plugins one at a time: what one of them breaks is recorded under its name, and the others keep working."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from time import perf_counter
from traceback import TracebackException
from typing import TYPE_CHECKING, Any, Protocol

from pluggy import PluginManager

from dragon_rewards.guard import aside, interruptions
from dragon_rewards.names import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import ModuleType

DISTRIBUTION = "dragon-rewards"
FAMILY = "dragon_"  # what the names of all entry-point groups of this project begin with
ENTRY_POINTS = "entry_points.txt"


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
        builtins: modules of built-in plugins, which load first.
        fallbacks: those that load last, so that what is installed takes its names before them.
        restrict: the environment variable that lists the only plugins or packages to load, separated by commas.
    """

    project: str
    hookspecs: ModuleType
    descriptors: Mapping[str, type[Descriptor]]
    builtins: tuple[str, ...]
    restrict: str
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class PluginRecord:
    """A plugin, the package it came in and that package's version."""

    name: str
    package: str
    version: str

    def __str__(self) -> str:
        package = f"{self.package} {self.version}".strip()  # a plugin that is not installed has no version
        return f"{self.name} ({package})"


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
        return f"{PluginRecord(self.plugin, self.package, self.version)}, {self.stage}: {self.reason}"


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


# Seconds that each plugin took in this process. Records are kept with results and would differ between runs.
LOAD_SECONDS: defaultdict[PluginRecord, float] = defaultdict(float)


@dataclass(frozen=True)
class _Source:
    """A plugin that has not been imported yet; `group` is None where nothing says what it would have registered."""

    record: PluginRecord
    load: Callable[[], object]
    group: str | None
    stage: Stage = Stage.IMPORT


def load_plugins(group: PluginGroup) -> Loaded:
    """Load built-in plugins, then installed ones in the order of their packages' names, then the fallbacks.

    Plugins that print while they load write to stderr, so that stdout stays fit for a machine to read.
    """
    with aside(), interruptions() as interrupted:
        loader = _Loader(group, interrupted)
        for source in [*_builtin(group, group.builtins), *_installed(group), *_builtin(group, group.fallbacks)]:
            loader.add(source)
    return Loaded(loader.descriptors, loader.owners, tuple(loader.plugins), tuple(loader.failures))


def _builtin(group: PluginGroup, modules: Iterable[str]) -> list[_Source]:
    version = metadata.version(DISTRIBUTION)
    return [
        _Source(PluginRecord(name, DISTRIBUTION, version), partial(import_module, name), group.project)
        for name in modules
    ]


def _installed(group: PluginGroup) -> list[_Source]:
    allowed = os.environ.get(group.restrict)
    found = _found(group.project if allowed is None else FAMILY)
    if allowed is not None:
        found = _restricted(found, set(map(str.strip, allowed.split(","))) - {""}, group.restrict)
    return [source for source in found if source.group in (group.project, None)]


def _found(groups: str) -> list[_Source]:
    """The plugins in groups whose names begin so, by package; of a package's copies the first on `sys.path` counts."""
    packages: dict[str, list[_Source]] = {}
    for distribution in metadata.distributions():
        sources = _sources(distribution, groups)
        if sources:
            packages.setdefault(sources[0].record.package, sources)
    found = [source for sources in packages.values() for source in sources]
    return sorted(found, key=lambda source: (source.record.package, source.record.name))


def _sources(distribution: metadata.Distribution, groups: str) -> list[_Source]:
    """The plugins of a package; a single one that fails, if the package's metadata cannot be read."""
    package, version = str(getattr(distribution, "_path", "unknown package")), ""  # its folder: no name yet
    try:
        if f"[{groups}" not in (distribution.read_text(ENTRY_POINTS) or ""):
            return []  # nearly all packages: nothing of them is parsed
        package, version = _identity(distribution.metadata)
        entries = [entry for entry in distribution.entry_points if entry.group.startswith(groups)]
    except Exception as error:  # noqa: BLE001  a broken file may raise anything, and must not hide other packages
        reason = f"its metadata cannot be read ({error}): install it again"
        return [_failing(PluginRecord(Path(package).name, package, version), reason)]
    return [
        _Source(PluginRecord(entry.name, package, version), partial(_load, entry), entry.group) for entry in entries
    ]


def _identity(head: metadata.PackageMetadata) -> tuple[str, str]:
    """Package and version of METADATA that is parsed once: `name` and `version` of a distribution parse it anew."""
    if "Name" not in head or "Version" not in head:
        raise ValueError("METADATA names no package and version")
    return head["Name"], head["Version"]


def _load(entry: metadata.EntryPoint) -> object:
    if not entry.pattern.match(entry.value):
        raise ValueError(f"its entry point '{entry.name} = {entry.value}' names neither module nor module:attribute")
    return entry.load()


def _failing(record: PluginRecord, reason: str) -> _Source:
    def load() -> object:
        raise LookupError(reason)

    return _Source(record, load, None, Stage.FIND)


def _restricted(found: list[_Source], allowed: set[str], variable: str) -> list[_Source]:
    """Those that are allowed by name or package; one variable may name plugins of several groups."""
    names = [{source.record.name, source.record.package} for source in found]
    reason = f"{variable} names it, but no plugin or package of this name is installed"
    missing = sorted(allowed.difference(*names))
    chosen = [source for source, known in zip(found, names, strict=True) if known & allowed]
    return [*(_failing(PluginRecord(name, "not installed", ""), reason) for name in missing), *chosen]


@dataclass
class _Loader:
    """Takes plugins one by one; `add` never raises for what a plugin did."""

    group: PluginGroup
    interrupted: Callable[[], bool]
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
        started = perf_counter()
        try:
            staged = self._staged(source)
        except BaseException as error:  # noqa: BLE001  a plugin may raise anything; panics of Rust are no Exception
            self._refuse(source.record, error)
        else:
            self._take(source.record, staged)
        if self.interrupted():  # by the user, whatever the plugin made of it
            raise KeyboardInterrupt
        LOAD_SECONDS[source.record] += perf_counter() - started

    def _staged(self, source: _Source) -> list[tuple[str, Descriptor]]:
        """What the plugin registers; it is alone in the manager meanwhile, so no other's hooks are checked or run."""
        self.stage = source.stage
        plugin = source.load()
        self.stage = Stage.HOOKS
        name = str(source.record)
        try:
            self._check_hooks(plugin, name)
            self.stage = Stage.REGISTRATION
            return self._registrations()
        finally:
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)

    def _check_hooks(self, plugin: object, name: str) -> None:
        if plugin is None:
            raise TypeError("its entry point names None, not a module")
        self.manager.register(plugin, name)
        self.manager.check_pending()
        if not self.manager.get_hookcallers(plugin):
            hooks = " or ".join(self.group.descriptors)
            raise TypeError(f"it implements no hook; mark {hooks} with @{self.group.project}.hookimpl")

    def _registrations(self) -> list[tuple[str, Descriptor]]:
        staged: list[tuple[str, Descriptor]] = []
        for hook in self.group.descriptors:
            getattr(self.manager.hook, hook)(register=partial(self._stage, staged, hook))
        return staged

    def _stage(self, staged: list[tuple[str, Descriptor]], hook: str, descriptor: Descriptor) -> None:
        """The `register` that hooks are given: checks a descriptor and keeps it until the plugin is taken."""
        expected = self.group.descriptors[hook]
        if not isinstance(descriptor, expected):
            raise TypeError(f"{hook} takes {expected.__name__}, not {type(descriptor).__name__}: {descriptor!r}")
        _check_fields(descriptor, expected)
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
        summary = TracebackException.from_exception(error)  # its text is safe where the error's own raises
        reason = f"{type(error).__name__}: {summary}"
        trace = "".join(summary.format())
        self.failures.append(PluginFailure(record.name, record.package, record.version, self.stage, reason, trace))


FIELD_TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
    "bool": bool,
    "frozenset": frozenset,
    "tuple": tuple,
    "Path": Path,
    "Callable": Callable,
}


def _check_fields(descriptor: Any, kind: type[Any]) -> None:
    """Refuse values of wrong types, over which lists of all descriptors would stumble."""
    home = vars(sys.modules[kind.__module__])
    for entry in fields(kind):
        name = str(entry.type).partition("[")[0]  # annotations are strings; what is in brackets is not checked
        value, expected = getattr(descriptor, entry.name), FIELD_TYPES.get(name, home.get(name, object))
        if not isinstance(value, expected):
            raise TypeError(f"{entry.name} of '{descriptor.name}' must be a {name}, not {value!r}")
