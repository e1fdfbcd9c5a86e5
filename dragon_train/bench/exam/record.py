"""Keep the sittings of an exam in the folder of its run: each stays, and a second one is told from the first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct, to_builtins

from dragon_rewards.storage.decoding import Count, read_json
from dragon_rewards.storage.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

EXAM = "exam.json"
Rate = Annotated[float, Meta(ge=0, le=1)]
Number = Annotated[float, Meta(ge=-1e300, le=1e300)]  # finite


class Judgement(Struct, frozen=True):
    """What one judge says of the tuned model against the untuned one.

    Attributes:
        reward: the judge.
        direction: which raw metric is better.
        before: the raw metric of the untuned model.
        after: the raw metric of the tuned one.
        win_rate: how often the tuned one is better.
        lower: the one-sided 95% Clopper-Pearson bound.
        trials: how many comparisons the bound counts.
    """

    reward: str
    direction: str
    before: Number
    after: Number
    win_rate: Rate
    lower: Rate
    trials: Count


class Sitting(Struct, frozen=True):
    """One taking of the exam.

    Attributes:
        taken: the day, as 2026-11-27.
        prompts: how many prompts.
        steps: diffusion steps of the generations.
        seed: of the generations.
        judgements: of each judge.
        behaviour: by name, a figure of the untuned and of the tuned model that no reward gives.
        watch: the mean win rate of the rewards that watched the run, at its last comparison; None without any.
        provenance: what it was made with.
    """

    taken: str
    prompts: Count
    steps: Count
    seed: int
    judgements: Annotated[tuple[Judgement, ...], Meta(min_length=1)]
    behaviour: dict[str, tuple[Number, Number]]
    watch: Rate | None
    provenance: dict[str, Any]

    @property
    def exam(self) -> float:
        """The mean win rate under the judges of the exam."""
        return sum(each.win_rate for each in self.judgements) / len(self.judgements)


class Sittings(Struct, frozen=True):
    """The contents of exam.json.

    Attributes:
        sittings: from the first one, which counts, to the last.
    """

    sittings: tuple[Sitting, ...] = ()


def read_sittings(folder: Path) -> tuple[Sitting, ...]:
    """Return the sittings of a run's exam; none if it was never taken.

    Raises:
        DragonError: the file cannot be read.
    """
    path = folder / EXAM
    return read_json(path, Sittings, "restore it; an exam is taken once").sittings if path.exists() else ()


def add_sitting(folder: Path, sitting: Sitting) -> None:
    """Write a sitting to the file that holds what was taken before, and keep all of that."""
    found = to_builtins(Sittings((*read_sittings(folder), sitting)))
    write_text(folder / EXAM, json.dumps(found, indent=2) + "\n")
