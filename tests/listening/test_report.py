"""The figures of the report against ones computed by hand, and what it refuses."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from support.listening import listen

from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation import cluster_interval, win_rate
from dragon_rewards.evaluation.listening.agreement import krippendorff_alpha
from dragon_rewards.evaluation.listening.plan import Clip, Kind, Pair, Plan, Side
from dragon_rewards.evaluation.listening.results import Report, read_votes, report
from dragon_rewards.evaluation.listening.votes import Choice, Vote, VoteFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROMPTS = ("air", "air", "jig", "hymn")
A, B, TIE = Side.A, Side.B, None
JUDGES = {  # what each rater prefers of the four pairs; then of the two repeats, and on which side of identical ones
    "Ann": ((B, B, A, TIE), (True, True), (Choice.TIE, Choice.TIE)),
    "Bob": ((B, B, B, A), (True, False), (Choice.LEFT, Choice.TIE)),  # half of either is enough
    "Cem": ((A, A, A, A), (False, False), (Choice.TIE, Choice.TIE)),  # not alike
    "Dee": ((A, B, A, A), (True, True), (Choice.LEFT, Choice.LEFT)),  # hears what is not there
}


@pytest.fixture(name="plan")
def four_pairs() -> Plan:
    pairs = [Pair(prompt, *(Clip(f"{place}.wav", side, 1.0) for side in "ab")) for place, prompt in enumerate(PROMPTS)]
    return Plan(0, 2, 2, tuple(pairs))


def choice(left: Side, preferred: Side | None) -> Choice:
    if preferred is None:
        return Choice.TIE
    return Choice.LEFT if preferred is left else Choice.RIGHT


def votes_of(plan: Plan, name: str, seat: int) -> list[Vote]:
    """All votes of a judge."""
    preferred, alike, identical = JUDGES[name]
    repeats, sames, votes = iter(alike), iter(identical), []
    for place, trial in enumerate(plan.trials(seat)):
        wanted = preferred[trial.pair]
        if trial.kind is Kind.IDENTICAL:
            chosen = next(sames)
        elif trial.kind is Kind.REPEAT and not next(repeats):
            chosen = choice(trial.left, A if wanted is B else B)
        else:
            chosen = choice(trial.left, wanted)
        votes.append(Vote(name, place, trial, chosen, 2.0 + place))
    return votes


@pytest.fixture
def made(plan: Plan) -> Report:
    return report(plan, [vote for seat, name in enumerate(JUDGES) for vote in votes_of(plan, name, seat)])


def by(rows: list[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in rows}


def test_the_win_rate_counts_each_pair_once_and_a_tie_half(made: Report) -> None:
    found = by(made.overall, "raters")["all"]
    counts = {"count": 4, "votes": 16, "a": 9, "ties": 1, "b": 6, "win_rate": 6.5 / 16}
    assert {key: found[key] for key in counts} == counts
    exact = win_rate(6.5, 16)
    assert (found["lower"], found["p_value"], found["posterior"]) == (exact.lower, exact.p_value, exact.posterior)


def test_the_interval_takes_a_prompt_as_one_draw(made: Report) -> None:
    found = by(made.overall, "raters")["all"]
    wins = [1, 1, 0, 0.5, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0]
    interval = cluster_interval(wins, PROMPTS * 4)
    assert (found["low"], found["high"]) == (interval.low, interval.high)


def test_agreement_is_that_of_the_votes(made: Report) -> None:
    """By hand: pairs (1, 1, 0, 0), (1, 1, 0, 1), (0, 1, 0, 0), (1/2, 0, 0, 0): their squares about their means."""
    within = 1 + 0.75 + 0.75 + 3 / 16
    all_of_them = 6 + 0.25 - 6.5**2 / 16
    assert by(made.overall, "raters")["all"]["alpha"] == pytest.approx(
        1 - (2 / 16 * within * 4 / 3) / (2 * all_of_them / 15)
    )


def test_careless_raters_are_named_and_left_out_of_a_second_row(made: Report) -> None:
    raters = by(made.raters, "rater")
    assert {name: row["careless"] for name, row in raters.items()} == {
        "Ann": False,
        "Bob": False,
        "Cem": True,
        "Dee": True,
    }
    assert [raters[name]["consistent"] for name in JUDGES] == [1, 0.5, 0, 1]
    assert [raters[name]["equal"] for name in JUDGES] == [1, 0.5, 1, 0]
    assert [raters[name]["win_rate"] for name in JUDGES] == [2.5 / 4, 3 / 4, 0, 1 / 4]
    assert raters["Ann"]["seconds"] == 2 + 3.5
    careful = by(made.overall, "raters")["not careless"]
    assert (careful["count"], careful["votes"], careful["win_rate"]) == (2, 8, 5.5 / 8)


def test_a_hasty_vote_makes_careless(plan: Plan) -> None:
    """Sounds of 2.05 s take 3.8 s to hear, but for the clocks."""
    pairs = [replace(pair, a=replace(pair.a, seconds=2.05), b=replace(pair.b, seconds=2.05)) for pair in plan.pairs]
    timed = replace(plan, pairs=tuple(pairs))
    votes = [replace(vote, seconds=3.9) for seat in (0, 1) for vote in votes_of(timed, ("Ann", "Bob")[seat], seat)]
    assert [row["hasty"] for row in report(timed, votes).raters] == [0, 0]
    for seconds in (3.7, math.nan):
        ann, bob = report(timed, [replace(votes[0], seconds=seconds), *votes[1:]]).raters
        assert (ann["hasty"], ann["careless"], bob["hasty"], bob["careless"]) == (1, True, 0, False)


def test_prompts_are_tallied_together_the_best_for_b_first(made: Report) -> None:
    assert [(row["prompt"], row["votes"], row["a"], row["ties"], row["b"]) for row in made.prompts] == [
        ("air", 8, 3, 0, 5),
        ("jig", 4, 3, 0, 1),
        ("hymn", 4, 3, 1, 0),
    ]


def test_side_bias_is_shown(plan: Plan) -> None:
    votes = [Vote("Eve", place, trial, Choice.LEFT, 1.0) for place, trial in enumerate(plan.trials(0))]
    (row,) = report(plan, votes).raters
    assert (row["left"], row["win_rate"], row["consistent"], row["careless"]) == (1, 0.5, 0, True)


def test_one_rater_agrees_with_nobody(plan: Plan) -> None:
    (found,) = report(plan, votes_of(plan, "Ann", 0)).overall
    assert (found["count"], found["alpha"]) == (1, None)


def test_alpha_is_that_of_the_published_example() -> None:
    """Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), example E: four observers, interval metric."""
    nan = math.nan
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
        [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
    ]
    units = [[value for value in unit if value == value] for unit in zip(*observers, strict=True)]  # noqa: PLR0124  NaN
    assert krippendorff_alpha(units) == pytest.approx(0.849, abs=5e-4)
    assert krippendorff_alpha([]) is None
    assert krippendorff_alpha([[1, 1], [1, 1]]) is None


def written(file: Path, plan: Plan, votes: list[Vote], seat: int, /, **changes: object) -> Path:
    """As a page downloads them."""
    rows = [{"choice": str(vote.choice), "seconds": vote.seconds} for vote in votes]
    content: Mapping[str, object] = {"plan": plan.digest, "rater": votes[0].rater, "seat": seat, "votes": rows}
    file.write_text(json.dumps({**content, **changes}), encoding="utf-8")
    return file


@pytest.fixture
def database(plan: Plan, tmp_path: Path) -> Path:
    """Ann's votes, who sat in the first seat."""
    file = VoteFile(tmp_path / "votes.sqlite")
    file.begin(plan)
    file.enter("Ann")
    for vote in votes_of(plan, "Ann", 0):
        file.add(vote)
    return file.path


def test_votes_of_server_and_pages_are_read_together(plan: Plan, database: Path, tmp_path: Path) -> None:
    bob = votes_of(plan, "Bob", 40)
    early, late = (written(tmp_path / f"{count}.json", plan, bob[:count], 40) for count in (3, 8))
    namesake = written(tmp_path / "ann.json", plan, votes_of(plan, "Ann", 9), 9)
    read, votes = read_votes([early, database, late, namesake])
    assert read == plan
    assert [vote for vote in votes if vote.rater == "Bob"] == bob
    assert {vote.rater for vote in votes} == {"Ann (seat 0)", "Ann (seat 9)", "Bob"}
    assert len(votes) == 24


def test_files_that_do_not_belong_are_refused(plan: Plan, database: Path, tmp_path: Path) -> None:
    bob = votes_of(plan, "Bob", 40)
    good = written(tmp_path / "bob.json", plan, bob, 40)
    other = written(tmp_path / "other.json", plan, [*bob[:-1], votes_of(plan, "Cem", 40)[0]], 40)
    bad = {
        "give the one SQLite file": [good],
        "gone.json' is not a file": [database, tmp_path / "gone.json"],
        "votes of another test": [database, written(tmp_path / "plan.json", plan, bob, 40, plan="0")],
        "choice.json' cannot be read .*'both'": [
            database,
            written(tmp_path / "choice.json", plan, bob, 40, votes=[{"choice": "both", "seconds": 1}]),
        ],
        "many.json' has 9 votes on 8 trials": [
            database,
            written(tmp_path / "many.json", plan, bob, 40, votes=[{"choice": "tie", "seconds": 1}] * 9),
        ],
        "other votes of 'Bob'": [database, good, other],
    }
    for message, paths in bad.items():
        with pytest.raises(DragonError, match=message):
            read_votes(paths)


def test_without_votes_there_is_no_report(plan: Plan) -> None:
    with pytest.raises(DragonError, match="nobody has voted"):
        report(plan, [])


def test_the_command_prints_tables_json_and_the_votes(plan: Plan, database: Path, tmp_path: Path) -> None:
    table = listen("report", database, "--csv", tmp_path / "votes.csv")
    assert "0.625" in table
    assert "careless" in listen("report", database, "--wide")
    printed = json.loads(listen("report", database, "--json"))
    assert printed["overall"][0]["win_rate"] == 2.5 / 4
    assert set(printed) == {"overall", "raters", "prompts"}
    votes = pd.read_csv(tmp_path / "votes.csv")
    pairs = votes[votes.kind == "pair"].set_index("path_a")["preferred"]
    assert [pairs[f"{place}.wav"] for place in range(3)] == ["b", "b", "a"]
    assert len(votes) == plan.length
