"""Read the table of cards: what their makers publish of memory and speed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from dragon_rewards.errors import UnknownNameError
from dragon_rewards.storage.decoding import read_toml


@dataclass(frozen=True)
class Card:
    """An accelerator, as its data sheet has it.

    Attributes:
        name: its full name.
        memory: its memory, in GB of 10^9 bytes.
        bandwidth: the bandwidth of its memory, in GB/s.
        bf16: its dense throughput in bf16, in TFLOP/s; fp16 is as fast.
        fp32: its throughput in float32 without tensor cores, in TFLOP/s.
        source: where the figures are from.
    """

    name: str
    memory: float
    bandwidth: float
    bf16: float
    fp32: float
    source: str


def cards() -> dict[str, Card]:
    """Read all cards, by the name that `--card` takes."""
    return read_toml(Path(str(files("dragon_train.estimate"))) / "cards.toml", dict[str, Card], "install it again")


def smallest(need: float) -> list[str]:
    """Return the names of the cards with the least memory that holds so many GB of 10^9 bytes; none if none does."""
    enough = {name: card.memory for name, card in cards().items() if card.memory >= need}
    return [name for name, memory in enough.items() if memory == min(enough.values())]


def find_card(name: str) -> Card:
    """Return the card of this name.

    Raises:
        UnknownNameError: there is no such card; the message names the ones that there are.
    """
    known = cards()
    if name not in known:
        raise UnknownNameError("card", name, known)
    return known[name]
