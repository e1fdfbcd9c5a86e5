"""Suites are data: named lists of rewards, each with an optional stand-in for machines that lack its parts."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from dragon_rewards.errors import ComposeError, ConfigError, DragonError, UnknownNameError
from dragon_rewards.names import RewardName
from dragon_rewards.packages import to_install
from dragon_rewards.rewards import compose

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


@dataclass(frozen=True)
class Slot:
    """A reward of a suite, and the reward that stands in for it where its parts are not installed."""

    reward: str
    stand_in: str | None = None


@dataclass(frozen=True)
class Suite:
    """A named list of rewards."""

    name: str
    summary: str
    slots: tuple[Slot, ...]


@dataclass(frozen=True)
class Serving:
    """The name of the reward that serves a slot, and a note where it is a stand-in."""

    slot: Slot
    served: str
    note: str = ""


@cache
def builtin_suites() -> dict[str, Suite]:
    """The suites that ship with the package, by name."""
    return _parsed(files("dragon_rewards").joinpath("suites.toml").read_text(encoding="utf-8"), "suites.toml")


def load_suite(name_or_path: str | Path) -> Suite:
    """A shipped suite by name, or the one suite in a `.toml` file of the same form.

    Raises:
        UnknownNameError: no suite of this name is shipped.
        ConfigError: the file is missing, or not of the form of `suites.toml`.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return _only(path)
    suites = builtin_suites()
    if str(name_or_path) not in suites:
        raise UnknownNameError("suite", str(name_or_path), suites)
    return suites[str(name_or_path)]


def serve(suite: Suite, registry: Registry) -> list[Serving]:
    """Choose, slot by slot, the reward itself where it composes and its stand-in where it does not.

    Raises:
        DragonError: neither composes.
    """
    return [_serving(slot, registry) for slot in suite.slots]


def _serving(slot: Slot, registry: Registry) -> Serving:
    try:
        return Serving(slot, compose(slot.reward, registry).name)
    except DragonError as refusal:
        if slot.stand_in is None:
            raise
        served = compose(slot.stand_in, registry).name
        return Serving(
            slot, served, f"{served} stands in for {slot.reward}: {_lacking(slot, registry) or _first(refusal)}"
        )


def _lacking(slot: Slot, registry: Registry) -> str | None:
    """Which part of a slot's reward is not installed, and what brings it."""
    name = RewardName.parse(slot.reward)
    if name.encoder not in registry.encoders:
        return f"encoder '{name.encoder}' is not installed; {to_install(name.encoder) or 'no package here brings it'}"
    if name.reduction not in registry.reductions:
        return f"reduction '{name.reduction}' is not installed; no package here brings it"
    return None


def _first(refusal: DragonError) -> str:
    """The first line of a refusal, without the names that are nearest."""
    return str(refusal).splitlines()[0].partition("; nearest:")[0]


def _only(path: Path) -> Suite:
    try:
        suites = _parsed(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: no suite can be read from it: {error.strerror}") from error
    if len(suites) != 1:
        raise ConfigError(f"{path} holds {len(suites)} suites ({', '.join(suites)}): give a file of exactly one")
    return next(iter(suites.values()))


def _parsed(text: str, source: str) -> dict[str, Suite]:
    try:
        return {name: _suite(name, table) for name, table in tomllib.loads(text).items()}
    except (tomllib.TOMLDecodeError, TypeError, ComposeError) as error:
        raise ConfigError(f"{source}: {error}") from error


def _suite(name: str, table: object) -> Suite:
    if not isinstance(table, dict) or set(table) != {"summary", "slots"}:
        raise TypeError(f"suite '{name}' must be a table of exactly 'summary' and 'slots'")
    if not isinstance(table["summary"], str) or not isinstance(table["slots"], list):
        raise TypeError(f"suite '{name}': 'summary' is a text and 'slots' is a list")
    if not table["slots"]:
        raise TypeError(f"suite '{name}' needs at least one slot")
    slots = tuple(_slot(entry) for entry in table["slots"])
    for place, slot in enumerate(slots):
        if slot.reward in [earlier.reward for earlier in slots[:place]]:
            raise TypeError(f"suite '{name}': '{slot.reward}' is listed twice")
    return Suite(name, table["summary"], slots)


def _slot(entry: object) -> Slot:
    """`"vendi:clap"`, or `{ reward = "aesthetics:clap", stand_in = "aesthetics-degradation:clap" }`."""
    table = {"reward": entry} if isinstance(entry, str) else entry
    if not isinstance(table, dict) or not {"reward"} <= set(table) <= {"reward", "stand_in"}:
        raise TypeError(f"a slot is a reward's name or a table of 'reward' and 'stand_in', not {entry!r}")
    if not all(isinstance(name, str) for name in table.values()):
        raise TypeError(f"a slot is a reward's name or a table of names, not {entry!r}")
    for name in table.values():
        RewardName.parse(name)
    return Slot(**table)
