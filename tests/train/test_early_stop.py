"""Held-out comparisons decide when a run ends and which weights are its result; an interruption changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import torch
from support.results import result
from support.tiny import CONFIG, tiny_policy, tiny_run

from dragon_train.loop.run_folder import CHECKPOINT, METRICS

if TYPE_CHECKING:
    from pathlib import Path

    from dragon_train.config import TrainConfig, Tuning

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
SONG, LATENTS, MATCH = "per-song-fad:logmel@airs", "per-song-fad:vae@airs", "clap-score:clap"
WATCHED = replace(CONFIG, heldout=(SONG,), heldout_prompts=4, steps=6)


class KilledError(Exception):
    """Stands for a kill between two steps."""


def interrupted(config: TrainConfig, out: Path, step: int) -> list[dict[str, float]]:
    """A run that ends after a step and is then resumed by the same command; returns the figures of the second part."""

    def stop(row: dict[str, float]) -> None:
        if row["step"] == step:
            raise KilledError

    with pytest.raises(KilledError):
        tiny_run(config, out, on_step=stop)
    assert (out / CHECKPOINT).is_file()
    return tiny_run(config, out)


def figures(out: Path) -> pd.DataFrame:
    """Of every step, but for the seconds."""
    return pd.read_csv(out / METRICS).filter(regex="^(?!.*_s$)")


def assert_equal_results(one: Path, other: Path) -> None:
    first, second = result(one), result(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_that_does_not_get_better_stops(tmp_path: Path) -> None:
    """Without learning every comparison is a tie: the first is the best, and two more are borne."""
    rows = tiny_run(replace(WATCHED, learning_rate=0.0, patience=2), tmp_path)
    assert [row["heldout_win_rate"] for row in rows] == [0.5] * 3
    assert all(row[f"untuned {SONG}"] == row[f"heldout {SONG}"] for row in rows)


def test_the_untuned_values_stay_where_the_policys_move(tmp_path: Path) -> None:
    rows = tiny_run(replace(WATCHED, steps=2), tmp_path)
    assert rows[0][f"untuned {SONG}"] == rows[1][f"untuned {SONG}"]
    assert rows[0][f"heldout {SONG}"] != rows[1][f"heldout {SONG}"]


def test_a_run_that_had_stopped_when_it_was_interrupted_makes_no_further_step(tmp_path: Path) -> None:
    config = replace(WATCHED, learning_rate=0.0, patience=2)
    assert interrupted(config, tmp_path / "halved", 3) == []
    tiny_run(config, tmp_path / "whole")
    assert_equal_results(tmp_path / "whole", tmp_path / "halved")


def test_patience_counts_on_after_an_interruption(tmp_path: Path) -> None:
    rows = interrupted(replace(WATCHED, learning_rate=0.0, patience=2), tmp_path, 2)
    assert [row["step"] for row in rows] == [3]


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_result_is_that_of_the_best_comparison(tmp_path: Path, ema: float) -> None:
    config = replace(WATCHED, patience=6, ema=ema, seed=1)
    policy = tiny_policy()
    rates = [row["heldout_win_rate"] for row in tiny_run(config, tmp_path / "all", policy)]
    best = rates.index(max(rates)) + 1
    assert best < len(rates), "another seed would show more"
    shorter = tiny_policy()
    tiny_run(replace(config, steps=best, patience=0), tmp_path / "best", shorter)
    assert_equal_results(tmp_path / "all", tmp_path / "best")
    sounds = [tuned.sample(["a jig"], [0], 2, 1.0).cpu() for tuned in (policy, shorter, tiny_policy())]
    assert torch.equal(sounds[0], sounds[1])
    assert not torch.equal(sounds[0], sounds[2])


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_everything_resumes_to_the_same_result(tmp_path: Path, tuning: Tuning) -> None:
    config = replace(WATCHED, tuning=tuning, steps=4, ema=0.5, at_least=(LATENTS, MATCH), patience=9, pool=1)
    tiny_run(config, tmp_path / "whole")
    assert [row["step"] for row in interrupted(config, tmp_path / "halved", 2)] == [3, 4]
    assert_equal_results(tmp_path / "whole", tmp_path / "halved")
    assert figures(tmp_path / "whole").equals(figures(tmp_path / "halved"))
    assert figures(tmp_path / "whole")[f"multiplier {MATCH}"].any()
