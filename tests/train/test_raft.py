"""RAFT with a pilot: how the budget is shared among prompts, what is learnt of it, and by what weight."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize
from support.tiny import CONFIG as TINY
from support.tiny import PROMPTS, tiny_policy, whole_and_resumed

from dragon_rewards import compose
from dragon_rewards.errors import ConfigError
from dragon_train.config import TrainConfig, Tuning
from dragon_train.embedded.pipeline import load_policy
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.learner import PolicyLearner
from dragon_train.loop.loop import train
from dragon_train.loop.processes import Processes
from dragon_train.loop.rollout import Clock, Context, StepRollout
from dragon_train.objectives.budget import ALPHA, BETA, allocated, claims
from dragon_train.objectives.configured import completed, make_objective
from dragon_train.objectives.raft import RAFT, Winners

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")

SONG = "per-song-fad:logmel@airs"
PILOT: dict[str, Any] = {"samples": 6, "pilot": 3, "gradient_norms": True}
SIZES = st.lists(st.floats(0.1, 10), min_size=2, max_size=6)
SHARES = st.floats(0.02, 1)
Numbers = np.ndarray[tuple[int], np.dtype[np.float64]]


def shared(norms: list[float], accepted: list[float], total: float) -> np.ndarray:
    found = claims(torch.tensor(norms, dtype=torch.float64), torch.tensor(accepted, dtype=torch.float64))
    share: np.ndarray = (total * found / found.sum()).numpy()
    return share


def variance(numbers: np.ndarray, norms: np.ndarray, accepted: np.ndarray) -> float:
    """What equation 7 of the paper minimises."""
    return float((norms**2 / (accepted * numbers) / (1 + ALPHA * accepted**-BETA)).sum())


def least(norms: list[float], accepted: list[float], total: float, bound: float) -> np.ndarray:
    """The numbers that minimise it, found by a general optimiser."""
    count, known = len(norms), (np.array(norms), np.array(accepted))
    even: Numbers = np.full(count, total / count)

    def relative(numbers: Numbers) -> float:
        return variance(numbers, *known) / variance(even, *known)

    budget = LinearConstraint(np.full((1, count), 1 / total), 1, 1)
    found = minimize(relative, even, bounds=[(bound, total)] * count, constraints=budget, tol=1e-14)
    return np.array(found.x)


NORMS, ACCEPTED = [1.0, 2.0, 3.0, 1.0], [0.9, 0.5, 0.1, 0.02]


def test_the_closed_form_is_the_numerical_optimum() -> None:
    assert shared(NORMS, ACCEPTED, 64) == pytest.approx(least(NORMS, ACCEPTED, 64, 1e-3), rel=1e-2)
    assert shared(NORMS, ACCEPTED, 64) == pytest.approx([4.04, 10.82, 34.66, 14.48], abs=0.005)


@pytest.mark.parametrize("bound", [2, 8, 16])
def test_whole_numbers_above_the_pilot_are_next_to_the_numerical_optimum(bound: int) -> None:
    found = allocated(torch.tensor(shared(NORMS, ACCEPTED, 1.0)), 64, bound)
    assert sum(found) == 64
    assert found == pytest.approx(least(NORMS, ACCEPTED, 64, bound), abs=1)


@given(SIZES, st.integers(0, 5), st.integers(0, 40))
def test_the_budget_is_spent_and_none_has_fewer_than_it_has_made(claim: list[float], bound: int, more: int) -> None:
    total = bound * len(claim) + more
    found = allocated(torch.tensor(claim), total, bound)
    assert sum(found) == total
    assert min(found) >= bound
    larger = sorted(zip(claim, found, strict=True))
    assert all(right[1] >= left[1] - (left[0] == right[0]) for left, right in pairwise(larger))


@given(st.integers(2, 9), st.floats(0.1, 10), SHARES)
def test_prompts_that_are_alike_are_given_the_same(count: int, norm: float, accepted: float) -> None:
    assert allocated(torch.tensor(shared([norm] * count, [accepted] * count, 1.0)), 7 * count, 2) == [7] * count
    assert allocated(torch.zeros(count), 7 * count, 2) == [7] * count


def test_rarer_success_is_given_more_until_it_is_given_up() -> None:
    peak = math.sqrt(ALPHA * (BETA - 1))
    accepted = np.geomspace(1e-5, 1, 200)
    found = claims(torch.ones(200, dtype=torch.float64), torch.tensor(accepted))
    assert accepted[int(found.argmax())] == pytest.approx(peak, rel=0.05)
    assert (found[accepted < peak].diff() > 0).all()
    assert (found[accepted > peak].diff() < 0).all()
    assert found[0] < 0.03 * found.max()
    assert claims(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.5])).tolist() == [0, 0]


def test_the_gradient_of_two_prompts_varies_less_by_the_predicted_ratio() -> None:
    """Each prompt's accepted clips have Gaussian gradients, and their mean is taken, as the weights of `raft` do."""
    norms, accepted, random = np.array([1.0, 4.0]), np.array([0.8, 0.3]), np.random.default_rng(0)

    def measured(numbers: np.ndarray) -> float:
        hits = random.binomial(numbers, accepted, size=(200_000, 2))
        return float((random.normal(size=hits.shape) * norms / np.sqrt(hits)).sum(1).var())

    uniform, better = np.array([200, 200]), np.array(allocated(torch.tensor(shared([1, 4], [0.8, 0.3], 1.0)), 400, 4))
    predicted = (norms**2 / (accepted * better)).sum() / (norms**2 / (accepted * uniform)).sum()
    assert predicted < 0.7
    assert measured(better) / measured(uniform) == pytest.approx(predicted, rel=0.02)


def step_of(config: TrainConfig, step: int = 0) -> StepRollout:
    policy, processes = tiny_policy(), Processes("no")
    learner = PolicyLearner(policy, config, processes)
    return StepRollout(
        Context(config, policy, PROMPTS, processes, Clock(processes.device)), compose(config.reward), step, [], learner
    )


def test_clips_of_chosen_prompts_have_seeds_of_their_step_and_place() -> None:
    config = replace(TINY, reward=SONG)
    first, again, later = step_of(config), step_of(config), step_of(config, 1)
    whole, chosen = first.generate(), first.generate([2, 2, 0])
    assert list(chosen.prompts) == [first.prompts[2], first.prompts[2], first.prompts[0]]
    assert len({*whole.seeds, *chosen.seeds}) == len(whole.seeds) + 3
    assert not torch.equal(chosen.latents[0], chosen.latents[1])
    again.generate()
    assert torch.equal(again.generate([2, 2, 0]).latents, chosen.latents)
    later.generate()
    assert not {*later.generate([2, 2, 0]).seeds} & {*chosen.seeds}


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_all_that_is_good_enough_is_learnt_and_prompts_count_alike(tuning: Tuning) -> None:
    """The best sixth of the pilot sets the level, under the step's own rewards, judged here once more."""
    config = replace(TINY, reward=SONG, tuning=tuning)
    rollout = step_of(config)
    winners = RAFT(**PILOT).collect(rollout)
    values = [compose(SONG).value(made.clips) for made in rollout.made]
    pilot, every = torch.cat(values[:3]), torch.cat(values)
    level = pilot.sort(descending=True).values[len(pilot) // 6 - 1]
    good = every >= level
    assert len(winners) == int(good.sum())
    assert torch.equal(winners.latents, torch.cat([made.latents for made in rollout.made])[good])
    names = [text for made in rollout.made for text in made.prompts]
    assert list(winners.prompts) == [name for name, kept in zip(names, good.tolist(), strict=True) if kept]
    totals = [float(winners.weight[[text == name for text in winners.prompts]].sum()) for name in {*winners.prompts}]
    assert totals == pytest.approx([totals[0]] * len(totals))
    assert float(winners.weight.mean()) == pytest.approx(1)
    numbers = [names.count(name) for name in rollout.prompts]
    assert sum(numbers) == 6 * len(rollout.prompts)
    assert winners.figures["accepted"] == pytest.approx(len(winners) / sum(numbers))
    assert (winners.figures["fewest_clips"], winners.figures["most_clips"]) == (min(numbers), max(numbers))
    assert winners.figures["reward"] == pytest.approx(float(pilot.mean()))


def test_increasing_functions_of_the_reward_change_nothing() -> None:
    plain, cubed = step_of(replace(TINY, reward=SONG)), step_of(replace(TINY, reward=SONG))
    value = cubed.reward.value

    class Cubed:
        parts, kind = cubed.reward.parts, cubed.reward.kind

        def value(self, clips: Any) -> torch.Tensor:
            return value(clips) ** 3

    other: Any = Cubed()
    cubed.reward = other
    winners = [RAFT(**PILOT).collect(rollout) for rollout in (plain, cubed)]
    assert torch.equal(winners[0].latents, winners[1].latents)
    assert torch.equal(winners[0].weight, winners[1].weight)


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_a_gradient_norm_is_that_of_a_backward_pass_and_leaves_nothing_behind(tuning: Tuning) -> None:
    policy, config = tiny_policy(), replace(TINY, tuning=tuning)
    learner = PolicyLearner(policy, config, Processes("no"))
    latents = policy.sample(PROMPTS[:1], [1], 2, 1.0)
    asked = latents, PROMPTS[:1], policy.draw(latents, torch.Generator().manual_seed(0))
    found = learner.gradient_norm(*asked)
    assert all(parameter.grad is None for parameter in learner.tuning.parameters)
    learner.denoising_error(*asked).sum().backward()
    last = [parameter for parameter in learner.tuning.parameters if parameter.ndim > 1][-1]
    assert last.grad is not None
    assert found == pytest.approx(float(last.grad.norm()))
    assert found > 0


def test_without_a_pilot_the_loss_is_the_denoising_error_to_the_bit() -> None:
    rollout = step_of(replace(TINY, reward=SONG))
    winners = RAFT(samples=2).collect(rollout).draw(rollout.context.policy, torch.Generator().manual_seed(0))
    assert winners.noise is not None
    expected = rollout.learner.denoising_error(winners.latents, winners.prompts, winners.noise)
    assert torch.equal(RAFT().losses(rollout.learner, winners), expected)
    assert len(rollout.made) == 2


def test_winners_count_by_their_weight() -> None:
    rollout = step_of(TINY)
    latents = rollout.context.policy.sample(PROMPTS[:2], [1, 2], 2, 1.0)
    winners = Winners(latents, PROMPTS[:2], torch.tensor([0.5, 1.5]), {})
    winners = winners.select(torch.tensor([1, 0])).draw(rollout.context.policy, torch.Generator().manual_seed(0))
    even = replace(winners, weight=torch.ones(2))
    losses, plain = (RAFT().losses(rollout.learner, each).tolist() for each in (winners, even))
    assert losses == pytest.approx([1.5 * plain[0], 0.5 * plain[1]])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"reward": "vendi:logmel", "options": {"pilot": 2}},
            "'vendi:logmel' judges a whole set; use options.pilot = 0",
        ),
        ({"at_least": ("vendi:chroma",), "options": {"pilot": 2}}, "'vendi:chroma' judges a whole set"),
        ({"options": {"pilot": 4}}, r"options\.pilot = 4: must be less than options\.samples = 4"),
        ({"options": {"gradient_norms": True}}, r"set options\.pilot, say 4, too"),
    ],
)
def test_what_a_pilot_cannot_do_is_refused_before_work_starts(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_objective(replace(TINY, objective="raft", **{"reward": SONG, **settings}))


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_an_interrupted_run_resumes_to_the_same_figures(tmp_path: Path, tuning: Tuning) -> None:
    config = replace(TINY, reward=SONG, objective="raft", steps=3, tuning=tuning, options=PILOT)
    whole, resumed = whole_and_resumed(config, tmp_path)
    assert resumed == whole


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_it_learns_on_the_embedded_model_beside_a_constraint(tmp_path: Path, tuning: Tuning) -> None:
    config = TrainConfig("per-song-fad:clap@airs", at_least=("clap-score:clap",), steps=2, pool=1)
    config = replace(config, objective="raft", options=PILOT, prompts_per_step=4, demonstration_steps=2, tuning=tuning)
    config, rows = completed(config), list[dict[str, float]]()
    parts = compose(config.reward), make_objective(config)
    train(config, load_policy(), *parts, prompts("train"), tmp_path, rows.append)
    for row in rows:
        assert row["gradient_norm"] > 0
        assert row["best_reward"] > row["reward"]
        assert 3 <= row["fewest_clips"] <= 6 <= row["most_clips"] <= 15
