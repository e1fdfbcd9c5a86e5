"""What a listening test plays: pairs of clips, and for each seat the order, the sides and the hidden controls."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.storage.decoding import Count, decode_json

if TYPE_CHECKING:
    from collections.abc import Iterable


UNHEARD = 0.05  # s at most of each sound that the page does not ask for (SLACK in page.js)
DAMAGED = "restore the file, or make the test anew in another one"
DRIFT = 0.05  # share by which the clocks of sound cards, pages and servers may differ; a generous bound


class Kind(StrEnum):
    """Why a trial is there; raters are not told."""

    PAIR = "pair"  # counts
    REPEAT = "repeat"  # a pair that was heard before, sides swapped
    IDENTICAL = "identical"  # one clip on both sides


class Side(StrEnum):
    """Which folder a clip is from."""

    A = "a"
    B = "b"

    @property
    def other(self) -> Side:
        """The other folder."""
        return Side.B if self is Side.A else Side.A


@dataclass(frozen=True)
class Clip:
    """A file as it is played.

    Attributes:
        name: its path within its folder.
        sha256: of its bytes.
        gain: the factor that matches its loudness.
        seconds: how long it lasts; None in plans from before this was kept.
    """

    name: str
    sha256: str
    gain: Annotated[float, Meta(gt=0, le=1e9)]
    seconds: Annotated[float, Meta(ge=0, le=1e9)] | None = None


@dataclass(frozen=True)
class Pair:
    """What is compared, and the prompt of both if they have one."""

    prompt: str | None
    a: Clip
    b: Clip

    def clip(self, side: Side) -> Clip:
        """That of a side."""
        return self.a if side is Side.A else self.b

    @property
    def label(self) -> str:
        """For the report: the prompt, else the name of A's file."""
        return self.prompt or self.a.name


@dataclass(frozen=True)
class Trial:
    """What a rater hears: folder `left` of a pair on the left; on the right the other, or the same if identical."""

    pair: int
    kind: Kind
    left: Side

    @property
    def right(self) -> Side:
        """The folder on the right."""
        return self.left if self.kind is Kind.IDENTICAL else self.left.other


@dataclass(frozen=True)
class Plan:
    """A test: its pairs, how many of them each rater hears again and as identical pairs, and the seed.

    Raises:
        ConfigError: more repeats than half of the pairs, rounded up, or more identical pairs than pairs.
    """

    seed: int
    repeats: Count
    identical: Count
    pairs: tuple[Pair, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.repeats <= self.early:
            raise ConfigError(f"of {len(self.pairs)} pairs {self.early} can be repeated, not {self.repeats}: --repeats")
        if not 0 <= self.identical <= len(self.pairs):
            raise ConfigError(f"{len(self.pairs)} pairs give as many identical ones, not {self.identical}: --identical")

    @property
    def early(self) -> int:
        """How many pairs are heard in the first half, which repeats are taken from."""
        return (len(self.pairs) + 1) // 2

    @property
    def length(self) -> int:
        """Trials of each rater."""
        return len(self.pairs) + self.repeats + self.identical

    @property
    def digest(self) -> str:
        """By which votes name the plan that they belong to."""
        return sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """As text; what is not known is left out, so that plans keep the digest that votes name."""
        return json.dumps(asdict(self, dict_factory=_without_unknown), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> Plan:
        """What `to_json` wrote; `where` names it in refusals.

        Raises:
            DragonError: it is something else.
        """
        plan = decode_json(text, cls, where, DAMAGED)
        if plan.to_json() != text:
            raise DragonError(f"{where} is not as it was written; {DAMAGED}")
        return plan

    def shortest(self, trial: Trial) -> float:
        """Seconds that pass at least while both sounds of a trial are heard to the end; 0 where no length is known.

        One sound is audible at a time, so it is the sum of both, less what the page does not ask for and what clocks
        differ by. Sounds that are loaded and decoded meanwhile only take longer.
        """
        clips = [self.pairs[trial.pair].clip(side) for side in (trial.left, trial.right)]
        return (1 - DRIFT) * sum(max(0.0, (clip.seconds or 0.0) - UNHEARD) for clip in clips)

    def trials(self, seat: int) -> list[Trial]:
        """The trials of the rater in a seat, the same at every call.

        Pairs come in random order, A on the left in half of them. A repeat comes in the second half, of a pair of the
        first, with its sides swapped; identical pairs come anywhere.
        """
        draw = Random(f"{self.seed} {seat}")
        pairs = range(len(self.pairs))
        lefts = _shuffled([(Side.A, Side.B)[index % 2] for index in pairs], draw)
        heard = [Trial(*chosen) for chosen in zip(_shuffled(pairs, draw), [Kind.PAIR] * len(pairs), lefts, strict=True)]
        first, second = heard[: self.early], heard[self.early :]
        again = [Trial(trial.pair, Kind.REPEAT, trial.left.other) for trial in _shuffled(first, draw)[: self.repeats]]
        trials = first + _shuffled(second + again, draw)
        for pair in _shuffled(pairs, draw)[: self.identical]:
            trials.insert(int(draw.random() * (len(trials) + 1)), Trial(pair, Kind.IDENTICAL, _side(draw)))
        return trials


def _without_unknown(entries: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in entries if (key, value) != ("seconds", None)}


def _shuffled(items: Iterable[Any], draw: Random) -> list[Any]:
    """By `random` alone: the one method whose sequence Python promises to keep between its versions."""
    return sorted(items, key=lambda _: draw.random())


def _side(draw: Random) -> Side:
    return Side.A if draw.random() < 0.5 else Side.B  # noqa: PLR2004  a fair coin
