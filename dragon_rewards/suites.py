"""Suites: named lists of rewards, read from files; each reward may have a stand-in for machines that lack its parts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from dragon_rewards.errors import ConfigError, DragonError, UnknownNameError
from dragon_rewards.exemplars import serves
from dragon_rewards.heads import FAMILY
from dragon_rewards.names import RewardName
from dragon_rewards.packages import to_install
from dragon_rewards.rewards import compose
from dragon_rewards.storage.decoding import converted, read_toml

if TYPE_CHECKING:
    from dragon_rewards.registry import Registry
EXAMPLE = """\
[mine]
summary = "the sound of the airs, and variety"
slots = [
    "dataset-fad:clap@airs",
    { reward = "vendi:clap-music", stand_in = "vendi:clap" },  # the latter where clap-music is not installed
]
"""

FORM = (
    "it is a table of 'summary', a text, and 'slots', at least one name of a reward or table of 'reward' and 'stand_in'"
)


@dataclass(frozen=True)
class Slot:
    """One entry of a suite: a reward, and the reward that stands in for it where its parts are not installed."""

    reward: str
    stand_in: str | None = None


@dataclass(frozen=True)
class Suite:
    """A named list of rewards.

    Attributes:
        name: the name of the suite.
        summary: a few words on what it measures.
        slots: its rewards, in order.
        source: the user's file that it was read from; None for a suite that ships with the package.
    """

    name: str
    summary: str
    slots: tuple[Slot, ...]
    source: Path | None = field(default=None, compare=False)


@dataclass(frozen=True)
class ResolvedSlot:
    """A slot with the name of the reward that serves it on this machine.

    Attributes:
        slot: the entry of the suite.
        served: the name of the reward that is used.
        note: why a stand-in is used; empty if none is.
    """

    slot: Slot
    served: str
    note: str = ""


@cache
def builtin_suites() -> dict[str, Suite]:
    """Return the suites that ship with the package, by name."""
    return _read(Path(str(files("dragon_rewards"))) / "suites.toml")


def load_suite(name_or_path: str | Path) -> Suite:
    """Return a shipped suite by its name, or the only suite in a `.toml` file of the user's.

    Raises:
        UnknownNameError: no suite of this name is shipped.
        ConfigError: the file is missing, has not the form of `suites.toml`, or does not hold exactly one suite.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return _only(path)
    suites = builtin_suites()
    if str(name_or_path) not in suites:
        raise UnknownNameError("suite", str(name_or_path), suites)
    return suites[str(name_or_path)]


def serve(suite: Suite, registry: Registry) -> list[ResolvedSlot]:
    """Choose for each slot of a suite the reward itself if it composes here, and its stand-in otherwise.

    Raises:
        DragonError: neither composes; for a user's suite, the message names the file.
    """
    try:
        return [_serving(slot, registry) for slot in suite.slots]
    except DragonError as refusal:
        if suite.source is None:
            raise
        raise ConfigError(f"'{suite.source}': {refusal}") from refusal


def _serving(slot: Slot, registry: Registry) -> ResolvedSlot:
    try:
        return ResolvedSlot(slot, compose(slot.reward, registry).name)
    except DragonError as refusal:
        if slot.stand_in is None:
            raise
        served = compose(slot.stand_in, registry).name
        return ResolvedSlot(
            slot, served, f"{served} stands in for {slot.reward}: {_lacking(slot, registry) or _first(refusal)}"
        )


def _lacking(slot: Slot, registry: Registry) -> str | None:
    """Say which part of a slot's reward is not here, and what brings it; return None if all parts are."""
    name = RewardName.parse(slot.reward)
    if name.encoder not in registry.encoders:
        return f"encoder '{name.encoder}' is not installed; {to_install(name.encoder) or 'no package here brings it'}"
    if name.reduction not in registry.reductions:
        made = (
            "`dragon fit-ratings --name aesthetics` makes it of ratings"
            if name.reduction == FAMILY
            else "no package here brings it"
        )
        return f"reduction '{name.reduction}' is not installed; {made}"
    wanted = registry.exemplar_sets.get(name.exemplar_set or "")
    if wanted and not serves(wanted, registry.encoders[name.encoder]):
        return (
            f"exemplar set '{name.exemplar_set}' has no statistics for encoder '{name.encoder}'; `dragon exemplars "
            "statistics` makes them of its audio"
        )
    return None


def _first(refusal: DragonError) -> str:
    """Return the first line of an error's message, without the list of nearest names."""
    return str(refusal).splitlines()[0].partition("; nearest:")[0]


class SlotTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A slot in a file, such as `{ reward = "aesthetics:clap", stand_in = "aesthetics-degradation:clap" }`."""

    reward: str
    stand_in: str | None = None


class SuiteTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A suite as a file states it; a slot without a stand-in may be written as the name of its reward alone."""

    summary: str
    slots: Annotated[list[str | SlotTable], Meta(min_length=1)]


def _only(path: Path) -> Suite:
    suites = _read(path)
    if len(suites) != 1:
        raise ConfigError(f"{path} holds {len(suites)} suites ({', '.join(suites)}): give a file of exactly one")
    return replace(next(iter(suites.values())), source=path)


def _read(path: Path) -> dict[str, Suite]:
    try:
        tables = read_toml(path, dict[str, Any], "give a file of the form of suites.toml")
        return {name: _suite(name, table) for name, table in tables.items()}
    except DragonError as error:
        raise ConfigError(f"{path}: {error}") from error


def _suite(name: str, table: object) -> Suite:
    read = converted(table, SuiteTable, f"suite '{name}'", FORM)
    slots = tuple(Slot(each) if isinstance(each, str) else Slot(each.reward, each.stand_in) for each in read.slots)
    for place, slot in enumerate(slots):
        for reward in (slot.reward, slot.stand_in):
            if reward is not None:
                RewardName.parse(reward)
        if slot.reward in [earlier.reward for earlier in slots[:place]]:
            raise ConfigError(f"suite '{name}': '{slot.reward}' is listed twice")
    return Suite(name, read.summary, slots)
