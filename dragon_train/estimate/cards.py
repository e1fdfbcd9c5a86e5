"""The table of cards: what their makers publish of memory and speed."""

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
        name: in full.
        memory: in GB, 10^9 bytes.
        bandwidth: of the memory, in GB/s.
        bf16: dense, in TFLOP/s; fp16 is as fast.
        fp32: in TFLOP/s, without tensor cores.
        source: where the figures are from.
    """

    name: str
    memory: float
    bandwidth: float
    bf16: float
    fp32: float
    source: str


def cards() -> dict[str, Card]:
    """By the name that `--card` takes."""
    return read_toml(Path(str(files("dragon_train.estimate"))) / "cards.toml", dict[str, Card], "install it again")


def find_card(name: str) -> Card:
    """Raises UnknownNameError, with those that there are."""
    known = cards()
    if name not in known:
        raise UnknownNameError("card", name, known)
    return known[name]
