"""What became of each fault that was tried."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Fate(StrEnum):
    """How a fault ended."""

    REFUSED = "refused"  # exit code 2, and a line that names the file
    RECOMPUTED = "recomputed"  # the right result; what was damaged is made anew, or made no difference
    READ = "read"  # another file of the same kind, whose contents nothing can tell to be wrong
    LOST = "lost"  # what had been acknowledged is gone, or another result came out
    ESCAPED = "escaped"  # a traceback, another exit code, a wrong result without a word


@dataclass
class Tally:
    """Counts for one kind of fault, and what went wrong, each once.

    Attributes:
        wrong: what distinguishes an escape or a loss -> the first input that showed it.
    """

    kind: str
    fates: Counter[Fate] = field(default_factory=Counter)
    wrong: dict[str, str] = field(default_factory=dict)

    def add(self, fate: Fate, what: str = "", example: str = "") -> None:
        """Count one."""
        self.fates[fate] += 1
        if fate in {Fate.LOST, Fate.ESCAPED}:
            self.wrong.setdefault(what, example)

    @property
    def row(self) -> dict[str, str | int]:
        """For the table."""
        return {"kind": self.kind, "tried": self.fates.total(), **{str(fate): self.fates[fate] for fate in Fate}}

    def check(self) -> None:
        """Fail with all that went wrong."""
        found = "\n\n".join(f"{self.kind}: {what}\n    e.g. {example}" for what, example in self.wrong.items())
        # A lone surrogate would end the worker of pytest.
        assert not self.wrong, found.encode(errors="backslashreplace").decode()
