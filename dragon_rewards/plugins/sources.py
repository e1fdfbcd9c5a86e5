"""Finding plugins without importing them: the built-in modules, and the entry points of installed packages."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING

from dragon_rewards.plugins.records import PluginRecord, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dragon_rewards.plugins.records import PluginGroup

DISTRIBUTION = "dragon-rewards"
FAMILY = "dragon_"  # the names of all entry-point groups of this project begin with this
ENTRY_POINTS = "entry_points.txt"


@dataclass(frozen=True)
class Source:
    """A plugin that has been found but not imported yet.

    Attributes:
        record: its name, package and version.
        load: imports the plugin; raises for a plugin that cannot be loaded.
        group: its entry-point group; None where nothing says what it would have registered.
        stage: the step of loading at which an error of `load` counts as a failure.
    """

    record: PluginRecord
    load: Callable[[], object]
    group: str | None
    stage: Stage = Stage.IMPORT


def builtin_sources(group: PluginGroup, modules: Iterable[str]) -> list[Source]:
    """Return the built-in plugins in these modules, which belong to this project's own package."""
    version = metadata.version(DISTRIBUTION)
    return [
        Source(PluginRecord(name, DISTRIBUTION, version), partial(import_module, name), group.project)
        for name in modules
    ]


def installed_sources(group: PluginGroup) -> list[Source]:
    """Return the installed plugins of a group, sorted by package and name, without importing them."""
    allowed = os.environ.get(group.restrict)
    found = _found(group.project if allowed is None else FAMILY)
    if allowed is not None:
        found = _restricted(found, set(map(str.strip, allowed.split(","))) - {""}, group.restrict)
    return [source for source in found if source.group in (group.project, None)]


def _found(groups: str) -> list[Source]:
    """Return the plugins in entry-point groups whose names begin with `groups`, sorted by package and name.

    Where a package is installed more than once, the first copy on `sys.path` counts.
    """
    packages: dict[str, list[Source]] = {}
    for distribution in metadata.distributions():
        sources = _sources(distribution, groups)
        if sources:
            packages.setdefault(sources[0].record.package, sources)
    found = [source for sources in packages.values() for source in sources]
    return sorted(found, key=lambda source: (source.record.package, source.record.name))


def _sources(distribution: metadata.Distribution, groups: str) -> list[Source]:
    """Return the plugins of a package, or a single one that fails if the package's metadata cannot be read."""
    package, version = str(getattr(distribution, "_path", "unknown package")), ""  # its folder, until its name is known
    try:
        if f"[{groups}" not in (distribution.read_text(ENTRY_POINTS) or ""):
            return []  # true of nearly all packages, whose metadata need not be parsed
        package, version = _identity(distribution.metadata)
        entries = [entry for entry in distribution.entry_points if entry.group.startswith(groups)]
    except Exception as error:  # noqa: BLE001  a broken file may raise anything, and must not hide other packages
        reason = f"its metadata cannot be read ({error}): install it again"
        return [_failing(PluginRecord(Path(package).name, package, version), reason)]
    return [Source(PluginRecord(entry.name, package, version), partial(_load, entry), entry.group) for entry in entries]


def _identity(head: metadata.PackageMetadata) -> tuple[str, str]:
    """Return the package's name and version from METADATA that was parsed once.

    The properties `name` and `version` of a distribution would parse the file again each time.
    """
    if "Name" not in head or "Version" not in head:
        raise ValueError("METADATA names no package and version")
    return head["Name"], head["Version"]


def _load(entry: metadata.EntryPoint) -> object:
    if not entry.pattern.match(entry.value):
        raise ValueError(f"its entry point '{entry.name} = {entry.value}' names neither module nor module:attribute")
    return entry.load()


def _failing(record: PluginRecord, reason: str) -> Source:
    def load() -> object:
        raise LookupError(reason)

    return Source(record, load, None, Stage.FIND)


def _restricted(found: list[Source], allowed: set[str], variable: str) -> list[Source]:
    """Keep the plugins whose name or package is allowed, and add a failing plugin for each allowed name not found.

    One environment variable may name plugins of several groups.
    """
    names = [{source.record.name, source.record.package} for source in found]
    reason = f"{variable} names it, but no plugin or package of this name is installed"
    missing = sorted(allowed.difference(*names))
    chosen = [source for source, known in zip(found, names, strict=True) if known & allowed]
    return [*(_failing(PluginRecord(name, "not installed", ""), reason) for name in missing), *chosen]
