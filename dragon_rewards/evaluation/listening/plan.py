"""The plan of a listening test: pairs of clips, and for each seat the order, the sides and the hidden controls."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.storage.decoding import Count, decode_json
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterable


UNHEARD = 0.05  # s at most of each sound that the page does not ask for (SLACK in page.js)
DAMAGED = "restore the file, or make the test anew in another one"
DRIFT = 0.05  # share by which the clocks of sound cards, pages and servers may differ; a generous bound


class Kind(StrEnum):
    """The reason why a trial is there; raters are not told."""

    PAIR = "pair"  # counts
    REPEAT = "repeat"  # a pair that was heard before, sides swapped
    IDENTICAL = "identical"  # one clip on both sides


class Side(StrEnum):
    """The folder that a clip is from, which is A or B."""

    A = "a"
    B = "b"

    @property
    def other(self) -> Side:
        """The folder that this one is compared with."""
        return Side.B if self is Side.A else Side.A


@dataclass(frozen=True)
class Clip:
    """A file as it is played to raters.

    Attributes:
        name: its path within its folder.
        sha256: the SHA-256 of its bytes, in hexadecimal.
        gain: the factor that matches its loudness.
        seconds: how long it lasts; None in plans from before this was kept.
    """

    name: str
    sha256: str
    gain: Annotated[float, Meta(gt=0, le=1e9)]
    seconds: Annotated[float, Meta(ge=0, le=1e9)] | None = None


@dataclass(frozen=True)
class Pair:
    """Two clips that are compared.

    Attributes:
        prompt: the prompt of both, if they have one.
        a: the clip of folder A.
        b: the clip of folder B.
    """

    prompt: str | None
    a: Clip
    b: Clip

    def clip(self, side: Side) -> Clip:
        """Return the clip of the pair that is from this folder."""
        return self.a if side is Side.A else self.b

    @property
    def label(self) -> str:
        """The name of the pair in a report: the prompt, else the name of A's file."""
        return self.prompt or self.a.name


@dataclass(frozen=True)
class Trial:
    """What a rater hears once: two sounds, left and right.

    Attributes:
        pair: the number of the pair, from 0.
        kind: why the trial is there.
        left: the folder on the left; on the right is the other one, or the same if the trial is of identical sounds.
    """

    pair: int
    kind: Kind
    left: Side

    @property
    def right(self) -> Side:
        """The folder that is heard on the right: the other one, or the same for identical sounds."""
        return self.left if self.kind is Kind.IDENTICAL else self.left.other


@dataclass(frozen=True)
class Plan:
    """What a test plays: its pairs, the controls and the seed.

    Attributes:
        seed: the seed of the order and the sides of every seat.
        repeats: how many pairs each rater hears again.
        identical: how many pairs of one clip on both sides each rater hears.
        pairs: the pairs.
        folders: where A and B are, as absolute paths; None where that is not known, as in older plans.

    Raises:
        ConfigError: more repeats than half of the pairs, rounded up, or more identical pairs than pairs.
    """

    seed: int
    repeats: Count
    identical: Count
    pairs: tuple[Pair, ...]
    folders: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.repeats <= self.early:
            raise ConfigError(
                f"of {counted(len(self.pairs), 'pair')} {self.early} can be repeated, not {self.repeats}: --repeats"
            )
        if not 0 <= self.identical <= len(self.pairs):
            raise ConfigError(f"{len(self.pairs)} pairs give as many identical ones, not {self.identical}: --identical")

    @property
    def early(self) -> int:
        """The number of pairs that are heard in the first half, which repeats are taken from."""
        return (len(self.pairs) + 1) // 2

    @property
    def length(self) -> int:
        """The number of trials that each rater hears."""
        return len(self.pairs) + self.repeats + self.identical

    @property
    def digest(self) -> str:
        """The name of the plan, by which votes say which plan they belong to: 16 hex digits of its SHA-256."""
        return sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Return the plan as JSON; what is not known is left out, so that plans keep the digest that votes name."""
        return json.dumps(asdict(self, dict_factory=_without_unknown), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> Plan:
        """Read a plan that `to_json` wrote; `where` names the text in error messages.

        Raises:
            DragonError: the text is something else.
        """
        plan = decode_json(text, cls, where, DAMAGED)
        if plan.to_json() != text:
            raise DragonError(f"{where} is not as it was written; {DAMAGED}")
        return plan

    def place(self, pair: int, side: Side) -> Path | None:
        """Return where a clip lies; None where it does not lie any more, is another by now, or no folder is known."""
        if self.folders is None:
            return None
        clip = self.pairs[pair].clip(side)
        path = Path(self.folders[list(Side).index(side)]) / clip.name
        return path if path.is_file() and sha256(path.read_bytes()).hexdigest() == clip.sha256 else None

    def shortest(self, trial: Trial) -> float:
        """Return the seconds that pass at least while both sounds of a trial are heard to the end.

        One sound is audible at a time, so it is the sum of both lengths, without what the page does not ask for and
        what clocks differ by:

            (1 - 0.05) sum_sounds max(0, seconds - 0.05)

        Sounds that are loaded and decoded meanwhile only take longer. It is 0 where no length is known.
        """
        clips = [self.pairs[trial.pair].clip(side) for side in (trial.left, trial.right)]
        return (1 - DRIFT) * sum(max(0.0, (clip.seconds or 0.0) - UNHEARD) for clip in clips)

    def trials(self, seat: int) -> list[Trial]:
        """Return the trials of the rater in a seat, which are the same at every call.

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
    return {key: value for key, value in entries if value is not None or key not in {"seconds", "folders"}}


def _shuffled(items: Iterable[Any], draw: Random) -> list[Any]:
    """Shuffle by `random` alone: the one method whose sequence Python promises to keep between its versions."""
    return sorted(items, key=lambda _: draw.random())


def _side(draw: Random) -> Side:
    return Side.A if draw.random() < 0.5 else Side.B  # noqa: PLR2004  a fair coin
