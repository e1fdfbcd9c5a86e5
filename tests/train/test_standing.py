"""Credit of clips where the best or the worst of several is taken: what it is, what it depends on, and what runs do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny import CONFIG as TINY
from support.tiny import PROMPTS, tiny_policy, whole_and_resumed

from dragon_rewards import compose
from dragon_rewards.errors import ConfigError
from dragon_rewards.evaluation import best_of_n_transform, calibrated, worst_of_n_transform
from dragon_train.config import TrainConfig, Tuning
from dragon_train.embedded.pipeline import load_policy
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.learner import PolicyLearner
from dragon_train.loop.loop import train
from dragon_train.loop.processes import Processes
from dragon_train.loop.rollout import Clock, Context, StepRollout
from dragon_train.objectives.configured import completed, make_objective
from dragon_train.objectives.groups import judged_groups
from dragon_train.objectives.standing import credits_if_chosen
from dragon_train.protocols import Generations

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")

SONG = "per-song-fad:logmel@airs"
NFT = replace(TINY, reward=SONG, objective="nft")


def step_of(config: TrainConfig = NFT) -> StepRollout:
    policy, processes = tiny_policy(), Processes("no")
    learner = PolicyLearner(policy, config, processes)
    context = Context(config, policy, PROMPTS, processes, Clock(processes.device))
    return StepRollout(context, compose(config.reward), 0, [], learner)


def changed(rollout: StepRollout, change: Callable[[torch.Tensor], torch.Tensor]) -> StepRollout:
    """The same step under a function of its reward."""
    reward = rollout.reward

    class Changed:
        parts, kind = reward.parts, reward.kind

        def value(self, clips: Any) -> torch.Tensor:
            return change(reward.value(clips))

    other: Any = Changed()
    rollout.reward = other
    return rollout


def credit(rollout: StepRollout, best_of: int = 0, worst_of: int = 0) -> tuple[np.ndarray, dict[str, float]]:
    found, figures = credits_if_chosen(rollout, judged_groups(rollout, 3), best_of, worst_of)
    return found.sum(0).numpy(), figures


def standing(rollout: StepRollout, untuned: int) -> np.ndarray:
    """C of each clip of the groups that the step made, from values of the reward."""

    def values(sets: list[Generations]) -> np.ndarray:
        return np.stack([compose(SONG).value(made.clips).numpy() for made in sets], 1)

    return calibrated(values(rollout.made), values([rollout.untuned(place) for place in range(untuned)]))


def test_where_one_clip_is_taken_the_credit_is_its_standing() -> None:
    rollout = step_of()
    found, figures = credit(rollout, best_of=1)
    expected = standing(rollout, 8)
    assert found == pytest.approx(expected)
    assert len({*expected.ravel()}) > 3
    assert figures["standing"] == pytest.approx(expected.mean())
    assert figures["reward"] == pytest.approx(judged_groups(step_of(), 3).figures()["reward"])  # in its own unit


@pytest.mark.parametrize("n", [3, 5])
def test_the_credit_is_the_transformation_for_the_policy_s_own_clips(n: int) -> None:
    rollout = step_of()
    found, _ = credit(rollout, best_of=n)
    shares = standing(rollout, max(8, 2 * n))
    assert found == pytest.approx(best_of_n_transform(shares, n, shares))
    worst, _ = credit(step_of(), worst_of=n)
    assert worst == pytest.approx(worst_of_n_transform(shares, n, shares))
    assert len(rollout.made) == 3  # nothing learns from the untuned model's clips


@pytest.mark.parametrize("choice", [{"best_of": 4}, {"worst_of": 4}])
def test_increasing_functions_of_the_reward_change_nothing(choice: dict[str, int]) -> None:
    plain, _ = credit(step_of(), **choice)
    assert np.array_equal(credit(changed(step_of(), lambda value: (value / 10).exp()), **choice)[0], plain)


def test_the_worst_of_a_reward_is_the_best_of_its_opposite() -> None:
    worst, _ = credit(step_of(), worst_of=4)
    assert worst == pytest.approx(-credit(changed(step_of(), torch.neg), best_of=4)[0])


def test_without_a_choice_credit_and_figures_are_the_groups_own() -> None:
    rollout = step_of()
    groups = judged_groups(rollout, 3)
    found, figures = credits_if_chosen(rollout, groups, 0, 0)
    assert found is groups.judged
    assert figures == groups.figures()


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_clips_to_compare_with_are_the_untuned_model_s_from_seeds_of_their_own(tuning: Tuning) -> None:
    rollout, fresh = step_of(replace(NFT, tuning=tuning)), step_of()
    with torch.no_grad():
        for parameter in rollout.learner.tuning.parameters:  # type: ignore[attr-defined]
            parameter.add_(0.05)
    with rollout.previous():  # as `nft` generates
        found = rollout.untuned(0)
    assert torch.equal(found.latents, fresh.untuned(0).latents)
    own = [rollout.generate(), rollout.generate()]
    assert not torch.equal(own[0].latents, fresh.generate().latents)
    assert not {*found.seeds, *rollout.untuned(1).seeds} & {seed for made in own for seed in made.seeds}
    assert rollout.made == own


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"options": {"best_of": 4}}, 'options.best_of = 4 .* options.advantage = "rank" sees; set .* = "std"'),
        ({"options": {"worst_of": 4, "advantage": "jury"}}, 'options.worst_of = 4 .*"jury" sees'),
        ({"options": {"best_of": 4, "worst_of": 2, "advantage": "std"}}, "set one of them, and the other to 0"),
        ({"reward": "vendi:logmel", "options": {"best_of": 4, "advantage": "std"}}, "use options.best_of = 0"),
        ({"at_least": ("vendi:chroma",), "options": {"worst_of": 4, "advantage": "std"}}, "'vendi:chroma' judges"),
    ],
)
def test_what_means_nothing_is_refused_before_work_starts(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_objective(replace(NFT, **settings))


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_an_interrupted_run_resumes_to_the_same_figures(tmp_path: Path, tuning: Tuning) -> None:
    options: dict[str, Any] = {"group": 3, "advantage": "std", "best_of": 3}
    config = replace(NFT, steps=3, tuning=tuning, options=options)
    whole, resumed = whole_and_resumed(config, tmp_path)
    assert resumed == whole


@pytest.mark.parametrize(
    ("objective", "tuning", "options"),
    [
        ("nft", "lora", {"best_of": 2, "advantage": "group"}),
        ("nft", "all", {"worst_of": 2, "advantage": "group"}),
        ("prdp", "lora", {"worst_of": 2}),
        ("prdp", "lora", {"best_of": 2, "path": "trajectory"}),
    ],
)
def test_it_learns_on_the_embedded_model_beside_a_constraint(
    tmp_path: Path, objective: str, tuning: Tuning, options: dict[str, Any]
) -> None:
    options = {"group": 3, **options}
    config = TrainConfig("per-song-fad:clap@airs", at_least=("clap-score:clap",), constraint="clip", steps=2)
    config = replace(
        config, objective=objective, options=options, prompts_per_step=4, demonstration_steps=2, tuning=tuning
    )
    config, rows = completed(config), list[dict[str, float]]()
    parts = compose(config.reward), make_objective(config)
    train(config, load_policy(), *parts, prompts("train"), tmp_path, rows.append)
    for row in rows:
        assert row["gradient_norm"] > 0
        assert 0 < row["standing"] < 1
