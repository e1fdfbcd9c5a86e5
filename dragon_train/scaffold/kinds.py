"""Define the kinds of plugin that `dragon plugins new` writes: what each registers, and what its package is called."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of part that a generated package brings."""

    ENCODER = "encoder"
    REDUCTION = "reduction"
    EXEMPLAR_SET = "exemplar-set"
    OBJECTIVE = "objective"
    ADAPTER = "adapter"


@dataclass(frozen=True)
class Facts:
    """What is said of a kind in every one of its packages.

    Attributes:
        prefix: what the package's name begins with.
        groups: the entry-point groups that its module joins.
        hook: the hook that registers the part.
        summary: what the package brings, as its description says.
    """

    prefix: str
    groups: tuple[str, ...]
    hook: str
    summary: str


FACTS = {
    Kind.ENCODER: Facts("dragon-reward-", ("dragon_rewards",), "register_encoders", "An encoder"),
    Kind.REDUCTION: Facts("dragon-reward-", ("dragon_rewards",), "register_reductions", "A reduction"),
    Kind.EXEMPLAR_SET: Facts("dragon-set-", ("dragon_rewards",), "register_exemplar_sets", "An exemplar set"),
    Kind.OBJECTIVE: Facts("dragon-objective-", ("dragon_train",), "register_objectives", "An objective"),
    Kind.ADAPTER: Facts("dragon-adapter-", ("dragon_train", "dragon_rewards"), "register_adapters", "A pipeline class"),
}


@dataclass(frozen=True)
class Names:
    """The names of a generated package.

    Attributes:
        kind: what it brings.
        name: the name under which its part is registered, in lower-case letters, digits and single hyphens.
    """

    kind: Kind
    name: str

    @property
    def package(self) -> str:
        """The name of the distribution, as pip knows it."""
        return f"{FACTS[self.kind].prefix}{self.name}"

    @property
    def module(self) -> str:
        """The name of the package, as Python imports it."""
        return self.package.replace("-", "_")
