"""Tell what the votes of a listening test say: win rates with statistics, agreement, and which raters were careless."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from statistics import median
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation import cluster_interval, win_rate
from dragon_rewards.evaluation.listening.agreement import krippendorff_alpha
from dragon_rewards.evaluation.listening.plan import DAMAGED, Kind, Side
from dragon_rewards.evaluation.listening.votes import Choice, Vote, VoteFile
from dragon_rewards.storage.decoding import Count, read_json
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dragon_rewards.evaluation.listening.plan import Plan, Trial

SQLITE = b"SQLite format 3\0"
FEWEST = 2  # controls of a kind, below which they call nobody careless
PASSED = 0.5  # share of controls of a kind

Seats = dict[tuple[str, int], list[Vote]]  # the votes of each rater, by name and seat


class Cast(Struct, frozen=True):
    """A vote as a page writes it into its file.

    Attributes:
        choice: what the rater chose.
        seconds: how long after its sounds were there.
    """

    choice: Choice
    seconds: float


class Downloaded(Struct, frozen=True):
    """The file that a page lets its rater download.

    Attributes:
        plan: the digest of the test's plan.
        rater: the rater's name.
        seat: the rater's seat, which fixes the order of the trials.
        votes: the votes so far, in the order of the trials.
    """

    plan: str
    rater: str
    seat: Count
    votes: list[Cast]


@dataclass(frozen=True)
class Report:
    """The report of a test, as rows of tables.

    Attributes:
        overall: a row of all raters, and one of the raters who were not careless if some were.
        raters: a row for each rater.
        prompts: a row for each prompt, of all raters, the best for B first.
    """

    overall: list[dict[str, Any]]
    raters: list[dict[str, Any]]
    prompts: list[dict[str, Any]]


def read_votes(paths: Sequence[Path]) -> tuple[Plan, list[Vote]]:
    """Read the plan of a test and all its votes, from its one file of votes and the JSON files that its pages wrote.

    Of files that one rater downloaded at different times, the longest counts.

    Raises:
        DragonError: there is not exactly one SQLite file, a file cannot be read or is of another test, or two files of
            one rater contradict each other.
    """
    databases = [path for path in paths if _is_database(path)]
    if len(databases) != 1:
        given = ", ".join(f"'{path}'" for path in paths)
        raise DragonError(
            f"give the one SQLite file of the test, which knows its sides; there are {len(databases)} in {given}"
        )
    file = VoteFile(databases[0])
    plan = file.plan()
    if plan is None:
        raise DragonError(f"'{databases[0]}' holds no listening test; give the file that --db named")
    seats: Seats = {(rater.name, rater.seat): [] for rater in file.raters()}
    taken = {name: (name, seat) for name, seat in seats}
    for vote in file.votes():
        if vote.rater not in taken or _heard(plan, taken[vote.rater][1], vote.trial) != vote.heard:
            raise DragonError(
                f"'{databases[0]}' has a vote of '{vote.rater}' on what the plan does not have; {DAMAGED}"
            )
        seats[taken[vote.rater]].append(vote)
    for path in paths:
        if path not in databases:
            _merge(seats, path, plan)
    return plan, _named(seats)


def _is_database(path: Path) -> bool:
    if not path.is_file():
        raise DragonError(f"'{path}' is not a file; check the path")
    with path.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def _merge(seats: Seats, path: Path, plan: Plan) -> None:
    rater, seat, votes = _downloaded(path, plan)
    known = seats.get((rater, seat), [])
    shorter, longer = sorted((known, votes), key=len)
    if longer[: len(shorter)] != shorter:
        raise DragonError(f"'{path}': other votes of '{rater}' are among the files; leave one of them out")
    seats[rater, seat] = longer


def _downloaded(path: Path, plan: Plan) -> tuple[str, int, list[Vote]]:
    """Read the rater, the seat and the votes of a file that a page wrote."""
    held = read_json(path, Downloaded, "give what the page downloads")
    if held.plan != plan.digest:
        raise DragonError(f"'{path}' has votes of another test; leave it out, or give its SQLite file")
    trials = plan.trials(held.seat)
    if len(held.votes) > len(trials):
        raise DragonError(
            f"'{path}' has {counted(len(held.votes), 'vote')} on {counted(len(trials), 'trial')}; give what the "
            "page downloads"
        )
    votes = [Vote(held.rater, place, trials[place], vote.choice, vote.seconds) for place, vote in enumerate(held.votes)]
    return held.rater, held.seat, votes


def _heard(plan: Plan, seat: int, trial: int) -> Trial | None:
    """Return the trial of a seat that has this number, or None."""
    trials = _trials(plan, seat)
    return trials[trial] if trial < len(trials) else None


@lru_cache(maxsize=1024)
def _trials(plan: Plan, seat: int) -> list[Trial]:
    return plan.trials(seat)


def _named(seats: Seats) -> list[Vote]:
    """Return all votes; raters who share a name are told apart by their seats."""
    names = [name for name, _ in seats]
    labels = {key: key[0] if names.count(key[0]) == 1 else f"{key[0]} (seat {key[1]})" for key in seats}
    return [replace(vote, rater=labels[key]) for key, votes in seats.items() for vote in votes]


def report(plan: Plan, votes: Sequence[Vote]) -> Report:
    """Return the tables of a test: a win is B's, a tie counts half, and repeats and identical pairs do not count.

    A rater is careless who answered fewer than half of the repeats as before, or fewer than half of the identical pairs
    as equal, of at least two. Who chooses among left, equal and right at random passes each with probability 1/3.
    Careless is, too, who cast a single hasty vote, quicker than both sounds can be heard to the end: neither the server
    nor the page lets one through, so that it was not cast there.

    Raises:
        DragonError: there is no vote on a pair.
    """
    counted = [vote for vote in votes if vote.heard.kind is Kind.PAIR]
    if not counted:
        raise DragonError("nobody has voted on a pair yet; ask raters to take the test")
    raters = [_rater_row(name, own, plan) for name, own in _grouped(votes, [vote.rater for vote in votes])]
    careless = {row["rater"] for row in raters if row["careless"]}
    careful = [vote for vote in counted if vote.rater not in careless]
    overall = [_overall_row("all", counted, plan)]
    if careless and careful:
        overall.append(_overall_row("not careless", careful, plan))
    labels = [plan.pairs[vote.heard.pair].label for vote in counted]
    prompts = [{"prompt": label, **_tally(own)} for label, own in _grouped(counted, labels)]
    return Report(overall, raters, sorted(prompts, key=lambda row: -row["win_rate"]))


def vote_rows(plan: Plan, votes: Iterable[Vote]) -> list[dict[str, Any]]:
    """Return a row for each vote, with what was judged: a table that `dragon fit-preferences` takes.

    A clip is given by its path, or by its name alone where it does not lie where it was heard (`Plan.place`).
    """
    sides = [(pair, side) for pair in range(len(plan.pairs)) for side in Side]
    places = {(pair, side): str(plan.place(pair, side) or plan.pairs[pair].clip(side).name) for pair, side in sides}
    return [
        {
            "rater": vote.rater,
            "trial": vote.trial,
            "prompt": plan.pairs[vote.heard.pair].prompt,
            "path_a": places[vote.heard.pair, Side.A],
            "path_b": places[vote.heard.pair, Side.B],
            "kind": str(vote.heard.kind),
            "left": str(vote.heard.left),
            "choice": str(vote.choice),
            "preferred": "" if vote.heard.kind is Kind.IDENTICAL else str(vote.preferred or Choice.TIE),
            "seconds": vote.seconds,
        }
        for vote in votes
    ]


def _grouped(votes: Sequence[Vote], keys: Sequence[str]) -> list[tuple[str, list[Vote]]]:
    groups: dict[str, list[Vote]] = {}
    for key, vote in zip(keys, votes, strict=True):
        groups.setdefault(key, []).append(vote)
    return list(groups.items())


def _win(vote: Vote) -> float:
    return {Side.A: 0.0, None: 0.5, Side.B: 1.0}[vote.preferred]


def _tally(votes: Sequence[Vote]) -> dict[str, Any]:
    """Return how often each folder was preferred, of pairs that count."""
    wins = [_win(vote) for vote in votes]
    rate = sum(wins) / len(wins) if wins else None
    return {"votes": len(wins), "a": wins.count(0), "ties": wins.count(0.5), "b": wins.count(1), "win_rate": rate}


def _overall_row(name: str, votes: Sequence[Vote], plan: Plan) -> dict[str, Any]:
    """Return statistics as if votes were independent, and the interval that takes a prompt's votes as one draw."""
    wins, prompts = [_win(vote) for vote in votes], [plan.pairs[vote.heard.pair].label for vote in votes]
    found = asdict(win_rate(sum(wins), len(wins)))
    interval = cluster_interval(wins, prompts) if len(set(prompts)) > 1 else None
    units = _grouped(votes, [str(vote.heard.pair) for vote in votes])
    return {
        "raters": name,
        "count": len({vote.rater for vote in votes}),
        **_tally(votes),
        **{key: found[key] for key in ("lower", "p_value", "posterior")},
        "low": interval and interval.low,
        "high": interval and interval.high,
        "alpha": krippendorff_alpha([[_win(vote) for vote in unit] for _, unit in units]),
    }


def _rater_row(name: str, votes: Sequence[Vote], plan: Plan) -> dict[str, Any]:
    """Return a rater's votes on pairs, and how the rater took the controls."""
    repeats, identical = _alike(votes), [vote.choice is Choice.TIE for vote in _of(votes, Kind.IDENTICAL)]
    hasty = [vote for vote in votes if not vote.seconds >= plan.shortest(vote.heard)]  # NaN is
    sides = [vote.choice is Choice.LEFT for vote in votes if vote.choice is not Choice.TIE]
    return {
        "rater": name,
        **_tally(_of(votes, Kind.PAIR)),
        "left": _share(sides),
        "repeats": len(repeats),
        "consistent": _share(repeats),
        "identical": len(identical),
        "equal": _share(identical),
        "seconds": median(vote.seconds for vote in votes),
        "hasty": len(hasty),
        "careless": bool(hasty) or _failed(repeats) or _failed(identical),
    }


def _of(votes: Iterable[Vote], kind: Kind) -> list[Vote]:
    return [vote for vote in votes if vote.heard.kind is kind]


def _alike(votes: Sequence[Vote]) -> list[bool]:
    """Return for each repeat whether the folder was preferred that had been before."""
    before = {vote.heard.pair: vote.preferred for vote in _of(votes, Kind.PAIR)}
    return [before[vote.heard.pair] is vote.preferred for vote in _of(votes, Kind.REPEAT)]


def _share(answers: Sequence[bool]) -> float | None:
    return sum(answers) / len(answers) if answers else None


def _failed(answers: Sequence[bool]) -> bool:
    return len(answers) >= FEWEST and sum(answers) / len(answers) < PASSED
