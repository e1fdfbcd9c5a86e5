"""The headline of a benchmark: means over rewards and seeds, of made-up tables whose figures are known."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragon_rewards.evaluation import cluster_interval
from dragon_rewards.evaluation.score_tables import BASELINE
from dragon_train.bench.headline import headline, outcomes, sentences
from dragon_train.bench.seed_tables import over_seeds
from dragon_train.embedded.words import ATTRIBUTES

RUNS = ["vendi:clap", "per-song-fad:clap@airs", "dataset-fad:vae@airs", "clap-score:clap"]
RATES = st.lists(st.floats(0, 1), min_size=8, max_size=8)


def tables(rates: list[float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Win rates and what was held out; the last run has no held-out reward."""
    wins = pd.DataFrame({"run": RUNS, "change": np.arange(4.0), "win_rate": rates, "before": 0.0})
    return wins, pd.DataFrame({"run": RUNS, "target": rates, "heldout": [0.6, 0.5, 0.4, None], "judges": 3})


def ceilings(headroom: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"run": RUNS, "headroom": headroom, "share": [0.1, 0.3, None, 0.5]})


def of_seeds(rates: list[float]) -> pd.DataFrame:
    parts = [outcomes(seed, *tables(rates[4 * seed : 4 * seed + 4]), None) for seed in (0, 1)]
    return pd.concat(parts, ignore_index=True)


def figures(table: pd.DataFrame, rewards: str = "all") -> dict[str, dict[Hashable, Any]]:
    return {str(row["figure"]): row for row in table[table["rewards"] == rewards].to_dict("records")}


def mean(row: dict[Hashable, Any]) -> tuple[int, float]:
    return row["count"], row["mean"]


@given(RATES)
def test_means_are_over_rewards_and_seeds_with_an_interval_over_rewards(rates: list[float]) -> None:
    row = figures(headline(of_seeds(rates)))["win_rate"]
    grid = np.array(rates).reshape(2, 4)
    of_rewards = cluster_interval(grid.mean(0), RUNS)  # the means over seeds, resampled
    assert mean(row) == pytest.approx((4, grid.mean()))
    assert (row["low"], row["high"]) == pytest.approx((of_rewards.low, of_rewards.high))
    assert row["between_seeds"] == pytest.approx(grid.mean(1).std(ddof=1))


def test_seeds_of_one_reward_are_no_further_rewards() -> None:
    rates = [0.1, 0.5, 0.7, 0.9]
    once, twice = (figures(headline(found))["win_rate"] for found in (of_seeds(rates * 2)[:4], of_seeds(rates * 2)))
    assert (twice["low"], twice["high"]) == pytest.approx((once["low"], once["high"]))
    assert math.isnan(once["between_seeds"])
    assert twice["between_seeds"] == 0


def test_a_figure_is_of_the_rewards_that_have_it() -> None:
    found = figures(headline(of_seeds([0.5] * 8)))
    assert mean(found["heldout"]) == pytest.approx((3, 0.5))
    assert set(found) == {"win_rate", "heldout"}


@pytest.mark.parametrize("headroom", [[True, False, True, None], [2.0, 0.0, 0.1, None]])
def test_rewards_with_and_without_headroom_stand_apart_where_that_is_known(headroom: list[object]) -> None:
    table = headline(outcomes(0, *tables([0.9, 0.5, 0.7, 0.1]), ceilings(headroom)))
    everything, room, none = (figures(table, of) for of in ("all", "with headroom", "without headroom"))
    assert mean(everything["win_rate"]) == pytest.approx((4, 0.55))
    assert mean(everything["share"]) == pytest.approx((3, 0.3))
    assert mean(room["win_rate"]) == pytest.approx((2, 0.8))
    assert mean(none["win_rate"]) == pytest.approx((1, 0.5))
    assert math.isnan(none["win_rate"]["low"])  # one reward has no spread
    assert "win rate under the own reward, mean of 1 reward without headroom: 50.0%" in sentences(table)


def test_headroom_is_what_most_seeds_say() -> None:
    seen: list[list[object]] = [[True, False, False, None], [True, True, False, None], [True, True, False, True]]
    found = [outcomes(seed, *tables([0.5] * 4), ceilings(each)) for seed, each in enumerate(seen)]
    table = headline(pd.concat(found, ignore_index=True))
    assert figures(table, "with headroom")["win_rate"]["count"] == 3
    assert figures(table, "without headroom")["win_rate"]["count"] == 1


@given(RATES)
def test_adherence_is_the_mean_over_attributes_less_that_of_the_untuned_model(shares: list[float]) -> None:
    beside = pd.DataFrame({"run": [BASELINE, *RUNS], "loudness": -9.0})
    for place, attribute in enumerate(ATTRIBUTES):
        beside[attribute] = [0.5, *shares[:3], shares[3 + place % 5]]
    found = outcomes(0, *tables([0.5] * 4), collateral=beside).set_index("run")["adherence"]
    assert found[RUNS[0]] == pytest.approx(shares[0] - 0.5)
    assert found[RUNS[3]] == pytest.approx(np.mean([shares[3 + place % 5] for place in range(len(ATTRIBUTES))]) - 0.5)
    assert "adherence" not in outcomes(0, *tables([0.5] * 4), collateral=beside.drop(columns="form"))


@given(RATES)
def test_a_run_has_its_mean_and_deviation_between_seeds(rates: list[float]) -> None:
    table, grid = over_seeds(of_seeds(rates)), np.array(rates).reshape(2, 4)
    assert table["run"].tolist() == RUNS
    assert table["win_rate"].tolist() == pytest.approx(grid.mean(0).tolist())
    assert table["win_rate_sd"].tolist() == pytest.approx(grid.std(0, ddof=1).tolist(), abs=1e-8)
    assert table["change_sd"].tolist() == [0.0] * 4
    assert table["heldout"].isna().tolist() == [False, False, False, True]


def test_sentences_say_what_is_known() -> None:
    (own, held_out) = sentences(headline(of_seeds([0.2, 0.4, 0.6, 0.8, 0.4, 0.6, 0.8, 1.0])))
    assert own.startswith("win rate under the own reward, mean of 4 rewards: 60.0% (95% interval ")
    assert own.endswith("; standard deviation between seeds 14.1%")
    assert held_out.startswith("win rate under held-out rewards, mean of 3 rewards: 50.0%")
