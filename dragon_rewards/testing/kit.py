"""List the checks of all parts that a package registers, and run each in the module of its family.

The checks of rewards (`dragon_rewards.testing`) and of the trainer (`dragon_train.testing`) are two kits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dragon_rewards.plugins import PluginFailure, PluginRecord


class Parts(Protocol):
    """What a kit asks of a registry: the plugin of each part, by its hook and its name, and the plugins that failed."""

    @property
    def owners(self) -> Mapping[tuple[str, str], PluginRecord]:
        """The plugin that registered each part, by the hook's name and the part's."""
        ...

    @property
    def failures(self) -> tuple[PluginFailure, ...]:
        """The plugins that did not load, with the reasons."""
        ...


@dataclass(frozen=True)
class Check:
    """A promise of one part, and the function that checks it.

    Attributes:
        name: what is checked, for example `order-equivariant`.
        part: whose promise it is, for example `encoder clap`.
        run: returns if the promise is kept; otherwise raises AssertionError, whose message says what was promised, what
            was found and how to mend it.
    """

    name: str
    part: str
    run: Callable[[], None]

    def __str__(self) -> str:
        return f"{self.part}: {self.name}"


@dataclass(frozen=True)
class Kit:
    """The checks of the parts of one entry-point group.

    A check is the function of its name in the module of its family, or in a shared one. The module's `prepare` makes
    what the checks of a part share, of the part's name and of what the kit is given.

    Attributes:
        home: the package of the modules; of the family `encoder` it is `<home>.encoders`.
        group: the entry-point group.
        package: the names of the checks of the package as a whole.
        families: by the hook that registers a part, a function from a registry and the part's name to the names of its
            checks by family.
        shared: the modules of checks that several families have in common.
    """

    home: str
    group: str
    package: tuple[str, ...]
    families: Mapping[str, Callable[[Any, str], dict[str, tuple[str, ...]]]]
    shared: tuple[str, ...] = ()

    def checks(self, package: str, registry: Parts, given: Any) -> list[Check]:
        """Return the checks of all parts that a distribution registers, at least one; builds nothing.

        Args:
            package: the distribution's name.
            registry: where its parts are.
            given: what `prepare` of a family is given beside the part's name.
        """
        failures = [failure for failure in registry.failures if _same(failure.package, package)]
        failed = [
            Check("loads", f"plugin {failure.plugin}", partial(_fail, f"{failure}\n{failure.traceback}"))
            for failure in failures
        ]
        return [*failed, *self._of_parts(package, registry, given)] or [
            Check("registers", f"package {package}", partial(_fail, _absence(package, self.group)))
        ]

    def _of_parts(self, package: str, registry: Parts, given: Any) -> Iterator[Check]:
        owned = [(hook, name) for (hook, name), owner in registry.owners.items() if _same(owner.package, package)]
        tested = [(hook, name) for hook, name in owned if hook in self.families]
        if tested:
            yield from self._family("package", registry.owners[tested[0]].package, self.package, given)
        for hook, name in tested:
            for family, names in self.families[hook](registry, name).items():
                yield from self._family(family, name, names, given)

    def _family(self, family: str, part: str, names: tuple[str, ...], given: Any) -> Iterator[Check]:
        modules = [f"{self.home}.{module}" for module in (f"{family.replace(' ', '_')}s", *self.shared)]
        for name in names:
            yield Check(name, f"{family} {part}", partial(_run, modules, name, part, given))


def as_test(checks: Sequence[Check]) -> Callable[[Check], None]:
    """Return a pytest test with one case for each check."""
    import pytest

    @pytest.mark.parametrize("check", [pytest.param(check, id=str(check)) for check in checks])
    def test_conformance(check: Check) -> None:
        check.run()

    return test_conformance


def _run(modules: Sequence[str], name: str, part: str, given: Any) -> None:
    function = re.sub(r"\W", "_", name)
    family, *shared = map(import_module, modules)
    check = next(getattr(module, function) for module in (family, *shared) if hasattr(module, function))
    try:
        check(family.prepare(part, given))
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"'{name}' could not be checked, because this was raised: {error!r}") from error


def _fail(message: str) -> None:
    raise AssertionError(message)


def _absence(package: str, group: str) -> str:
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        return f"no package '{package}' is installed: pip install it, and give the name in its pyproject.toml"
    return (
        f"package '{package}' {version} registers nothing: name its module in entry-point group {group}, mark its "
        "hooks with @hookimpl, install it again; and see whether DRAGON_REWARDS_PLUGINS leaves it out"
    )


def _same(package: str, other: str) -> bool:
    """Return whether pip takes both names for one (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package).lower() == re.sub(r"[-_.]+", "-", other).lower()
