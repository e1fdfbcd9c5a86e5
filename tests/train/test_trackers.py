"""Trackers are told every figure of every step, under the names that metrics.csv has."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from support.tiny import CONFIG, tiny_policy, tiny_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dragon_rewards.errors import ConfigError, DragonError, UnknownNameError
from dragon_train.loop.run_folder import METRICS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
REWARD = "per-song-fad:logmel@airs"  # ':' and '@' are in the names of figures


def test_tensorboard_holds_every_figure(tmp_path: Path) -> None:
    config = replace(CONFIG, trackers=("tensorboard",), at_least=(REWARD,), heldout=(REWARD,), heldout_prompts=2)
    rows = tiny_run(config, tmp_path)
    events = EventAccumulator(str(tmp_path / "dragon"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == set(rows[0])
    assert {f"reward {REWARD}", f"win rate {REWARD}"} < set(rows[0])
    for name in rows[0]:
        told = [(event.step, event.value) for event in events.Scalars(name)]
        assert told == [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows]
    assert set(pd.read_csv(tmp_path / METRICS).columns) == set(rows[0])


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("tensorbord", UnknownNameError, "did you mean tensorboard"),
        ("comet_ml", ConfigError, "pip install comet_ml"),
    ],
)
def test_a_tracker_that_is_not_there_is_refused_before_work(
    tmp_path: Path, name: str, kind: type[DragonError], message: str
) -> None:
    assert find_spec(name) is None
    with pytest.raises(kind, match=message):
        tiny_run(replace(CONFIG, trackers=(name,)), tmp_path / "run", tiny_policy())
    assert not (tmp_path / "run").exists()
