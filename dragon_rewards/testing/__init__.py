"""A conformance kit: it checks what every encoder, exemplar set and reduction promises, for all parts of a package.

In a test module of the package, one call makes one test per check and part:

    from dragon_rewards.testing import conformance

    test_conformance = conformance("dragon-reward-template")

Listing the checks loads the registry and builds nothing.

An encoder that needs weights (`EncoderInfo.weights`) is built of those that are found, under `$DRAGON_WEIGHTS` or in
the caches of the hub and of torch: random ones in the form of the released will do. It is also held to how it takes
them:

- missing weights: a `WeightsError` names what to get, and where from;
- cached weights: in either cache they are found without a network, and the identity is the same;
- weights run no code: a file of weights that holds code is refused, and the code is not run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from typing import TYPE_CHECKING

from dragon_rewards.protocols import Modality
from dragon_rewards.registry import load_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dragon_rewards.registry import Registry

PACKAGE = ("registering builds nothing",)
ENCODER = (
    "facts",
    "builds",
    "identity",
    "frames",
    "finite",
    "deterministic",
    "order-equivariant",
    "batch-invariant",
    "length-independent",
    "distinct sounds",
    "channels and rate",
    "short input",
    "input unmodified",
    "devices",
    "gradients",
    "latents",
    "text tower",
)
IMAGE_ENCODER = (
    "facts",
    "builds",
    "identity",
    "frames",
    "finite",
    "deterministic",
    "order-equivariant",
    "batch-invariant",
    "size-independent",
    "distinct images",
    "odd sizes",
    "input unmodified",
    "devices",
    "gradients",
    "text tower",
)
TEXT_TOWER = (
    "text embeddings",
    "text deterministic",
    "text batch-invariant",
    "empty text",
    "text limit",
    "text devices",
)
WEIGHTS = ("missing weights", "cached weights", "weights run no code")
EXEMPLAR_SET = ("facts", "manifest", "content hash", "count", "statistics", "identities")
TEXT_SET = ("captions",)
REDUCTION = (
    "facts",
    "builds",
    "shape",
    "finite",
    "deterministic",
    "clip order",
    "few frames",
    "minimum clips",
    "input unmodified",
    "devices",
)
PER_CLIP = ("locality",)
WHOLE_SET = ("subsets",)
REFERENCE = ("reference matters", "direction")
PROMPTS = ("prompts matter",)
SHARED = (
    "towers",
    "text_towers",
    "weights",
)  # modules of the checks that encoders of audio and of images have in common


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


def conformance(package: str) -> Callable[[Check], None]:
    """Return a pytest test with one case per check of `checks(package)`; bind it to a name that begins with `test`."""
    import pytest

    @pytest.mark.parametrize("check", [pytest.param(check, id=str(check)) for check in checks(package)])
    def test_conformance(check: Check) -> None:
        check.run()

    return test_conformance


def checks(package: str, registry: Registry | None = None) -> list[Check]:
    """Return the checks of all parts that a distribution registers; builds nothing.

    The list is never empty: a package that is not installed or registers nothing, and each of its plugins that failed
    to load, is a check that fails and says so.

    Args:
        package: the distribution's name, as pip knows it.
        registry: where its parts are; by default all that is installed.

    Example:
        >>> for check in checks("dragon-rewards"):
        ...     if check.name == "order-equivariant":
        ...         print(check)
        encoder vae: order-equivariant
        encoder clap: order-equivariant
        encoder logmel: order-equivariant
        encoder chroma: order-equivariant
    """
    registry = registry or load_registry()
    failures = [failure for failure in registry.failures if _same(failure.package, package)]
    failed = [
        Check("loads", f"plugin {failure.plugin}", partial(_fail, f"{failure}\n{failure.traceback}"))
        for failure in failures
    ]
    return [*failed, *_checks_of_parts(package, registry)] or [
        Check("registers", f"package {package}", partial(_fail, _absence(package)))
    ]


def _checks_of_parts(package: str, registry: Registry) -> Iterator[Check]:
    owned = [(hook, name) for (hook, name), owner in registry.owners.items() if _same(owner.package, package)]
    if owned:
        distribution = registry.owners[owned[0]].package
        yield from _family("package", distribution, PACKAGE, registry)
    for hook, name in owned:
        for family, names in FAMILIES[hook](registry, name).items():
            yield from _family(family, name, names, registry)


def _of_encoder(registry: Registry, name: str) -> dict[str, tuple[str, ...]]:
    info = registry.encoders[name]
    more = TEXT_TOWER * (Modality.TEXT in info.modalities) + WEIGHTS * bool(info.weights)
    sees = {"image encoder": IMAGE_ENCODER + more} if Modality.IMAGE in info.modalities else {}
    return {"encoder": ENCODER + more, **sees} if Modality.AUDIO in info.modalities or not sees else sees


def _of_exemplar_set(registry: Registry, name: str) -> dict[str, tuple[str, ...]]:
    return {"exemplar set": EXEMPLAR_SET + (TEXT_SET if registry.exemplar_sets[name].modality is Modality.TEXT else ())}


def _of_reduction(registry: Registry, name: str) -> dict[str, tuple[str, ...]]:
    info = registry.reductions[name]
    own = PER_CLIP if info.kind.per_clip else WHOLE_SET
    return {"reduction": REDUCTION + own + REFERENCE * bool(info.needs_reference) + PROMPTS * bool(info.needs_prompts)}


# Families of checks, and the names of the checks, by the hook that registers the part.
FAMILIES: dict[str, Callable[[Registry, str], dict[str, tuple[str, ...]]]] = {
    "register_encoders": _of_encoder,
    "register_exemplar_sets": _of_exemplar_set,
    "register_reductions": _of_reduction,
}


def _family(family: str, part: str, names: tuple[str, ...], registry: Registry) -> Iterator[Check]:
    """Yield the checks `names` of a part; each is the function of this name in its family's or in a shared module."""
    modules = (f"{family.replace(' ', '_')}s", *SHARED)
    for name in names:
        yield Check(name, f"{family} {part}", partial(_run, modules, name, part, registry))


def _run(modules: Sequence[str], name: str, part: str, registry: Registry) -> None:
    function = re.sub(r"\W", "_", name)
    family, *shared = (import_module(f"{__name__}.{module}") for module in modules)
    check = next(getattr(module, function) for module in (family, *shared) if hasattr(module, function))
    try:
        check(family.prepare(part, registry))
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"'{name}' could not be checked, because this was raised: {error!r}") from error


def _fail(message: str) -> None:
    raise AssertionError(message)


def _absence(package: str) -> str:
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        return f"no package '{package}' is installed: pip install it, and give the name in its pyproject.toml"
    return (
        f"package '{package}' {version} registers nothing: name its module in entry-point group dragon_rewards, mark "
        "its hooks with @hookimpl, install it again; and see whether DRAGON_REWARDS_PLUGINS leaves it out"
    )


def _same(package: str, other: str) -> bool:
    """Return whether pip takes both names for one (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package).lower() == re.sub(r"[-_.]+", "-", other).lower()
