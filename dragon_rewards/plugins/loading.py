"""Loading of plugins, one at a time: what one plugin breaks is recorded under its name, and the others keep working."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from time import perf_counter
from traceback import TracebackException
from typing import TYPE_CHECKING, Any

from pluggy import PluginManager

from dragon_rewards.guard import aside, interruptions
from dragon_rewards.names import check_name
from dragon_rewards.plugins.records import Loaded, PluginFailure, PluginRecord, Stage
from dragon_rewards.plugins.sources import builtin_sources, installed_sources

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dragon_rewards.plugins.records import Descriptor, PluginGroup
    from dragon_rewards.plugins.sources import Source

# Seconds that each plugin took to load in this process. They are not part of the records, which are stored with results
# and must not differ between runs.
LOAD_SECONDS: defaultdict[PluginRecord, float] = defaultdict(float)


def load_plugins(group: PluginGroup) -> Loaded:
    """Load built-in plugins, then installed ones in the order of their packages' names, then the fallbacks.

    Whatever plugins print while they load goes to stderr, so that programs can still parse stdout.

    Returns:
        What the plugins registered, and a record of every plugin that loaded or failed.

    Raises:
        KeyboardInterrupt: the user interrupted the loading.
    """
    with aside(), interruptions() as interrupted:
        loader = _Loader(group, interrupted)
        for source in [
            *builtin_sources(group, group.builtins),
            *installed_sources(group),
            *builtin_sources(group, group.fallbacks),
        ]:
            loader.add(source)
    return Loaded(loader.descriptors, loader.owners, tuple(loader.plugins), tuple(loader.failures))


@dataclass
class _Loader:
    """Loads plugins one by one; whatever a plugin raises becomes a record in `failures`."""

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

    def add(self, source: Source) -> None:
        """Take all that the plugin registers, or record why nothing of it was taken."""
        started = perf_counter()
        try:
            staged = self._staged(source)
        except BaseException as error:  # noqa: BLE001  a plugin may raise anything; panics of Rust are no Exception
            self._refuse(source.record, error)
        else:
            self._take(source.record, staged)
        if self.interrupted():  # by the user, even if the plugin caught the interruption
            raise KeyboardInterrupt
        LOAD_SECONDS[source.record] += perf_counter() - started

    def _staged(self, source: Source) -> list[tuple[str, Descriptor]]:
        """Load a plugin and return what it registers.

        Meanwhile it is the only plugin in the manager, so that the hooks of no other plugin are checked or run.
        """
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
        """Check a descriptor and keep it until all of the plugin is taken; hooks get this function as `register`."""
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
        summary = TracebackException.from_exception(error)  # it gives a text even if the error's own __str__ raises
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
    """Refuse a descriptor with a field of the wrong type, which would break lists of all descriptors."""
    home = vars(sys.modules[kind.__module__])
    for entry in fields(kind):
        name = str(entry.type).partition("[")[0]  # annotations are strings; what is in brackets is not checked
        value, expected = getattr(descriptor, entry.name), FIELD_TYPES.get(name, home.get(name, object))
        if not isinstance(value, expected):
            raise TypeError(f"{entry.name} of '{descriptor.name}' must be a {name}, not {value!r}")
