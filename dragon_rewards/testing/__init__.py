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

from typing import TYPE_CHECKING

from dragon_rewards.protocols import Modality
from dragon_rewards.registry import load_registry
from dragon_rewards.testing.kit import Check, Kit, as_test

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_rewards.registry import Registry

__all__ = ["Check", "checks", "conformance"]

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
WHOLE_SET = ("subsets", "large sets")
REFERENCE = ("reference matters", "direction")
PROMPTS = ("prompts matter",)
SHARED = (
    "towers",
    "text_towers",
    "weights",
)  # modules of the checks that encoders of audio and of images have in common


def conformance(package: str) -> Callable[[Check], None]:
    """Return a pytest test with one case per check of `checks(package)`; bind it to a name that begins with `test`."""
    return as_test(checks(package))


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
        encoder spr: order-equivariant
        encoder logmel: order-equivariant
        encoder chroma: order-equivariant
    """
    registry = registry or load_registry()
    return KIT.checks(package, registry, registry)


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


KIT = Kit(
    home=__name__,
    group="dragon_rewards",
    package=PACKAGE,
    families={
        "register_encoders": _of_encoder,
        "register_exemplar_sets": _of_exemplar_set,
        "register_reductions": _of_reduction,
    },
    shared=SHARED,
)
