"""From clips to the long frame, and from the frame to comparisons, win rates and cross-effects."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation import matched_subsets
from dragon_rewards.evaluation.score_tables import (
    BASELINE,
    COLUMNS,
    comparisons,
    confounder_table,
    confounders_frame,
    controlled_table,
    cross_table,
    scores_frame,
    win_table,
)
from dragon_rewards.media.clips import Clips
from dragon_rewards.protocols import Direction, RewardKind

if TYPE_CHECKING:
    from dragon_rewards.rewards import Reward

PROMPTS, SIZE = 20, 4
SUBSETS = matched_subsets(PROMPTS, SIZE, rounds=3, seed=0)
SEEDS = list(range(100, 100 + PROMPTS))


@dataclass(frozen=True)
class Loudness:
    """Stands for a reward: the clips' levels, or their mean over a set."""

    name: str
    kind: RewardKind
    direction: Direction

    def metric(self, clips: Clips) -> Tensor:
        levels = torch.stack([clip.abs().mean() for clip in clips.audio])
        return levels if self.kind.per_clip else levels.mean()

    def subsets(self, clips: Clips) -> Callable[[Tensor], Tensor]:
        levels = torch.stack([clip.abs().mean() for clip in clips.audio])
        return lambda rows: self.direction.sign * levels[rows].mean(1)


LOUD = cast("Reward", Loudness("loud:x", RewardKind.INSTANCE, Direction.HIGHER))
SOFT = cast("Reward", Loudness("soft:x", RewardKind.INSTANCE_TO_DISTRIBUTION, Direction.LOWER))
SOFT_SET = cast("Reward", Loudness("soft-set:x", RewardKind.DISTRIBUTION_TO_DISTRIBUTION, Direction.LOWER))
REWARDS = [LOUD, SOFT, SOFT_SET]


def clips(level: float) -> Clips:
    """Clip i has the level `level + i / 100`."""
    return Clips(level + torch.arange(PROMPTS)[:, None] / 100 + torch.zeros(PROMPTS, 10), 16_000)


def scored(run: str, level: float, model: str = "small") -> pd.DataFrame:
    return scores_frame(run, model, clips(level), REWARDS, subsets=SUBSETS, seeds=SEEDS)


def only(frame: pd.DataFrame, **where: str) -> dict[str, Any]:
    """The one row with these values."""
    rows = [row for row in frame.to_dict("records") if where.items() <= row.items()]
    assert len(rows) == 1
    return cast("dict[str, Any]", rows[0])


@pytest.fixture(name="frame")
def two_runs() -> pd.DataFrame:
    """The run soft:x got softer, the run loud:x louder."""
    return pd.concat([scored(BASELINE, 0.5), scored("soft:x", 0.4), scored("loud:x", 0.6)])


def test_frame_has_a_row_per_clip_or_subset_and_one_for_the_whole_set() -> None:
    frame = scored("run", 0.5)
    assert list(frame.columns) == COLUMNS
    counts = frame.groupby("reward", sort=False).size().to_dict()
    assert counts == {"loud:x": PROMPTS, "soft:x": PROMPTS, "soft-set:x": len(SUBSETS) + 1}
    clip = only(frame, reward="soft:x", prompt_id="p0012")
    assert (clip["run"], clip["model"], clip["seed"]) == ("run", "small", 112)
    assert clip["value"] == pytest.approx(0.62, abs=1e-6)


def test_subsets_hold_raw_metrics_and_the_first_clips_seed() -> None:
    frame = scored("run", 0.5)
    row = only(frame, reward="soft-set:x", prompt_id="s0007")
    assert row["value"] == pytest.approx(0.5 + SUBSETS[7].mean() / 100, abs=1e-6)
    assert row["seed"] == SEEDS[SUBSETS[7][0]]
    whole = only(frame, reward="soft-set:x", prompt_id="all")
    assert whole["value"] == pytest.approx(0.5 + (PROMPTS - 1) / 200, abs=1e-6)


def test_comparisons_know_kind_direction_and_trials(frame: pd.DataFrame) -> None:
    compared = comparisons(frame, REWARDS, PROMPTS // SIZE)
    assert len(compared) == 6
    soft = only(compared, run="soft:x", reward="soft-set:x")
    assert (soft["kind"], soft["direction"]) == ("distribution-to-distribution", "lower")
    assert (soft["win_rate"], soft["wins"], soft["trials"]) == (1.0, 5.0, 5)
    assert soft["lower"] == pytest.approx(0.05 ** (1 / 5))
    assert soft["after"] - soft["before"] == pytest.approx(-0.1, abs=1e-6)
    loud = only(compared, run="soft:x", reward="loud:x")
    assert (loud["win_rate"], loud["trials"], loud["lower"], loud["p_value"]) == (0.0, PROMPTS, 0.0, 1.0)


def test_an_unchanged_model_ties() -> None:
    frame = pd.concat([scored(BASELINE, 0.5), scored("same", 0.5)])
    assert (comparisons(frame, REWARDS, 5)["win_rate"] == 0.5).all()


def test_the_order_of_rows_does_not_matter(frame: pd.DataFrame) -> None:
    shuffled = frame.sample(frac=1, random_state=0)
    expected = comparisons(frame, REWARDS, 5).sort_values(["run", "reward"], ignore_index=True)
    got = comparisons(shuffled, REWARDS, 5).sort_values(["run", "reward"], ignore_index=True)
    pd.testing.assert_frame_equal(got, expected)


def test_win_table_has_the_targets_in_their_order_under_the_name_that_served(frame: pd.DataFrame) -> None:
    table = win_table(comparisons(frame, REWARDS, 5), {"loud:x": "loud:x", "soft:x": "soft-set:x"})
    assert table["run"].tolist() == ["loud:x", "soft:x"]
    assert table["served"].tolist() == ["loud:x", "soft-set:x"]
    assert table["win_rate"].tolist() == [1.0, 1.0]


def test_cross_table_is_runs_by_rewards(frame: pd.DataFrame) -> None:
    table = cross_table(comparisons(frame, REWARDS, 5))
    assert table.index.tolist() == ["soft:x", "loud:x"]
    assert table.columns.tolist() == ["loud:x", "soft:x", "soft-set:x"]
    assert table.to_numpy().tolist() == [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]


def test_scores_that_do_not_pair_are_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(DragonError, match="no value for reward 'loud:x', prompt p0000, seed 100"):
        comparisons(frame[frame["run"] != BASELINE], REWARDS, 5)
    with pytest.raises(DragonError, match="several values for reward 'loud:x', prompt p0000"):
        comparisons(pd.concat([frame, scored(BASELINE, 0.7)]), REWARDS, 5)


def test_each_model_is_compared_with_its_own_baseline(frame: pd.DataFrame) -> None:
    more = pd.concat([frame, scored(BASELINE, 0.9, "large"), scored("large soft", 0.8, "large")])
    assert only(comparisons(more, REWARDS, 5), run="large soft", reward="soft:x")["win_rate"] == 1.0
    with pytest.raises(DragonError, match="baseline of model 'huge' has no value"):
        comparisons(pd.concat([frame, scored("run", 0.5, "huge")]), REWARDS, 5)


def test_missing_scores_and_seeds_are_named(frame: pd.DataFrame) -> None:
    other = cast("Reward", SimpleNamespace(name="other:x", kind=RewardKind.INSTANCE, direction=Direction.HIGHER))
    with pytest.raises(DragonError, match="a run has no values of reward 'other:x'"):
        comparisons(frame, [other], 5)
    with pytest.raises(DragonError, match="'soft:x' was not compared under its reward 'gone:x'"):
        win_table(comparisons(frame, REWARDS, 5), {"soft:x": "gone:x"})
    with pytest.raises(DragonError, match="3 seeds for 20 clips"):
        scores_frame("run", "small", clips(0.5), REWARDS, subsets=SUBSETS, seeds=[1, 2, 3])


def test_no_gradient_is_kept() -> None:
    audio = torch.full((PROMPTS, 10), 0.5, requires_grad=True)
    frame = scores_frame("run", "small", Clips(audio, 16_000), REWARDS, subsets=SUBSETS, seeds=SEEDS)
    assert np.isfinite(frame["value"]).all()


def louder(run: str, gain: float) -> pd.DataFrame:
    """Confounders of noise, clip i louder by i / 2 dB where `gain` is 1."""
    noise = torch.randn(PROMPTS, 16_000, generator=torch.Generator().manual_seed(0)) / 100
    factors = 10 ** (gain * torch.arange(PROMPTS)[:, None] / 40)
    return confounders_frame(run, Clips(factors * noise, 16_000), SEEDS)


def test_confounders_of_each_clip() -> None:
    frame = louder("run", 1.0)
    assert list(frame.columns) == ["run", "prompt_id", "seed", "duration", "loudness", "silence"]
    assert frame["prompt_id"].tolist() == [f"p{index:04d}" for index in range(PROMPTS)]
    assert (frame["duration"] == 1.0).all()
    gains = frame["loudness"] - louder("same", 0.0)["loudness"]
    assert gains.tolist() == pytest.approx([index / 2 for index in range(PROMPTS)], abs=1e-3)
    half = torch.cat([torch.ones(2, 8_000), torch.zeros(2, 8_000)], 1)
    faint = Clips([*(half * torch.tensor([[1.0], [1e-4]]))], 16_000)
    measured = confounders_frame("run", faint, [0, 1])
    assert measured["silence"].tolist() == [0.5, 1.0]
    assert measured["loudness"][1] == -70.0
    assert confounder_table(measured).to_dict("records")[0]["silence"] == 0.75


def test_a_reward_that_follows_loudness_has_no_controlled_gain() -> None:
    """The metric is the loudness; SOFT is its negative, and the set is passed over."""
    measured = [louder(BASELINE, 0.0), louder("loud:x", 1.0)]
    frame = pd.concat(
        frame[["run", "prompt_id", "seed"]].assign(model="small", reward=reward.name, value=frame["loudness"])
        for frame in measured
        for reward in (LOUD, SOFT)
    )
    table = controlled_table(frame, pd.concat(measured), REWARDS)
    assert table["reward"].tolist() == ["loud:x", "soft:x"]
    assert (table["controlled"] == 0.5).all()
    assert comparisons(frame, [LOUD], 5)["win_rate"].item() > 0.95


def test_confounders_that_do_not_fit_the_scores_are_refused(frame: pd.DataFrame) -> None:
    measured = pd.concat([louder(BASELINE, 0.0), louder("soft:x", 1.0)])
    with pytest.raises(DragonError, match="'loud:x' or the baseline has no confounders for prompt p0000, seed 100"):
        controlled_table(frame, measured, REWARDS)
    with pytest.raises(DragonError, match="several confounders for prompt p0000, seed 100"):
        controlled_table(frame, pd.concat([measured, measured]), REWARDS)
    with pytest.raises(DragonError, match="measured on audio"):
        confounders_frame("run", cast("Clips", clips(0.5).without_media()), SEEDS)
    with pytest.raises(DragonError, match="3 seeds and 20 prompts for 20 clips"):
        confounders_frame("run", clips(0.5), [1, 2, 3], ["jig"] * PROMPTS)


def test_several_clips_of_a_prompt_are_one_trial() -> None:
    prompts = [f"jig {index // 4}" for index in range(PROMPTS)]
    first, second = (
        scores_frame(run, "small", clips(level), [LOUD], subsets=SUBSETS, seeds=SEEDS, prompts=prompts)
        for run, level in ((BASELINE, 0.5), ("run", 0.6))
    )
    assert second["prompt_id"].tolist() == [f"p{index // 4:04d}" for index in range(PROMPTS)]
    second.loc[0, "value"] = 0.0
    row = comparisons(pd.concat([first, second]), [LOUD], 5).to_dict("records")[0]
    assert (row["trials"], row["wins"]) == (5, 4.75)
    assert row["low"] < row["win_rate"] == row["high"] * 0.95
