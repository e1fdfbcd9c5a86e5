"""Tables and figures of a frame whose figures are known."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from dragon_train.bench.ablation.figures import write_figure
from dragon_train.bench.ablation.frames import Outcome, terciles
from dragon_train.bench.ablation.grid import Figure, Table
from dragon_train.bench.ablation.tables import laid_out, summary, tidy, write_tables
from dragon_train.bench.evaluate import Evaluation

FRAME = pd.DataFrame(
    [
        {"loss": loss, "steps": steps, "seed": seed, "reward": "a", "scored": scored, "win_rate": rate + steps / 100}
        for loss, rates in (("dpo", (0.5, 0.7)), ("kto", (0.6, 0.6)))
        for seed, rate in enumerate(rates)
        for steps in (1, 2)
        for scored in ("a", "b")
    ]
)
TABLE = Table("rates", rows=("loss",), value=("win_rate",))


def test_means_are_of_the_axes_that_are_not_named_and_spreads_of_seeds() -> None:
    rows = summary(FRAME, ["loss"], "win_rate").set_index("loss")
    assert rows.loc["dpo", "mean"] == pytest.approx(0.615)
    assert rows.loc["dpo", "sd"] == pytest.approx(0.2 / 2**0.5)
    assert [rows.loc["dpo", name] for name in ("lowest", "highest")] == pytest.approx([0.515, 0.715])
    assert rows.loc["kto", "sd"] == 0
    assert rows["seeds"].tolist() == [2, 2]


def test_one_seed_has_no_spread() -> None:
    rows = summary(FRAME[FRAME["seed"] == 0].drop(columns="seed"), ["loss"], "win_rate")
    assert rows["sd"].isna().all()


def test_tables_are_of_the_reward_that_was_maximised_unless_others_are_named() -> None:
    shifted = FRAME.assign(win_rate=FRAME["win_rate"] + (FRAME["scored"] == "b"))
    assert tidy(shifted, TABLE)["mean"].max() < 1
    other = Table("rates", rows=("loss",), value=("win_rate",), scored=("b",))
    assert tidy(shifted, other)["mean"].min() > 1


def test_a_table_is_read_and_written_in_three_forms(tmp_path: Path) -> None:
    table = Table("rates", rows=("loss",), columns=("steps",), value=("win_rate",))
    text = write_tables(tmp_path, FRAME[(FRAME["loss"] == "dpo") | (FRAME["steps"] == 1)], table)
    assert text.to_dict("records") == [
        {"loss": "dpo", "steps 1": "0.61 ± 0.14", "steps 2": "0.62 ± 0.14"},
        {"loss": "kto", "steps 1": "0.61 ± 0", "steps 2": ""},
    ]
    assert len(pd.read_csv(tmp_path / "rates.csv")) == 3
    assert "| dpo    | 0.61 ± 0.14 | 0.62 ± 0.14 |" in (tmp_path / "rates.md").read_text()
    assert r"0.61 $\pm$ 0.14" in (tmp_path / "rates.tex").read_text()


def test_several_values_are_columns_of_their_own() -> None:
    table = Table("rates", rows=("loss",), value=("win_rate", "steps"))
    assert list(laid_out(tidy(FRAME, table), table).columns) == ["loss", "win_rate", "steps"]


@pytest.mark.parametrize(
    "figure",
    [
        Figure("f", "bar", x=("loss",), y="win_rate", series="steps"),
        Figure("f", "line", x=("steps",), y="win_rate", series="loss", panels="scored", scored=("a", "b")),
        Figure("f", "histogram", x=("win_rate", "steps"), panels="loss"),
    ],
)
def test_a_figure_has_the_same_bytes_again(figure: Figure, tmp_path: Path) -> None:
    for name in ("first.svg", "second.svg"):
        write_figure(tmp_path / name, FRAME, figure)
    assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "second.svg").read_bytes()
    drawn = (tmp_path / "first.svg").read_text()
    assert all(word in drawn for word in (figure.series.replace("_", " ") or figure.x[0], ">" + FRAME["loss"][0]))


def scores(values: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"reward": "clap-score:clap", "prompt_id": f"p{i:04d}", "value": value} for i, value in enumerate(values)]
    )


def test_regression_to_the_mean_shows_where_nothing_was_learnt() -> None:
    """Seed 1 is seed 0 in reverse: what was low is high again, though the tuned model is the untuned one."""
    values = [float(i) for i in range(9)]
    untuned = {0: scores(values), 1: scores(values[::-1])}
    outcome = Outcome({"seed": 0}, ("clap-score:clap",), Evaluation(9, 2, 3, 1, 0), scores(values), untuned)
    gains = terciles([outcome]).set_index(["binned_by", "tercile"])["gain"]
    assert (gains["own baseline"] == 0).all()
    assert (gains["other seed"] == 0).all()
    assert gains["untuned again"]["low"] > 1
    assert gains["untuned again"]["medium"] == 0
    assert gains["untuned again"]["high"] < -1
