"""PRDP: the optimum of its regression, its identities, and its runs on both paths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import CONFIG as TINY
from support.tiny import tiny_policy, tiny_run, whole_and_resumed
from torch.nn.functional import logsigmoid

from dragon_train.config import Tuning
from dragon_train.loop.learner import PolicyLearner
from dragon_train.loop.processes import Processes
from dragon_train.objectives.configured import make_objective
from dragon_train.objectives.prdp import PRDP, Steps, Walks, pair_errors, step_ratios
from dragon_train.objectives.trajectories import Trajectories, log_ratio, step_noise
from dragon_train.protocols import SteppingPolicy

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")

SEEDS = st.integers(0, 2**31)
PATHS = ["forward", "trajectory"]
CONFIG = replace(TINY, objective="prdp", demonstration_steps=3, beta=500.0)


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_step_is_tilted_by_its_reward() -> None:
    """One step N(m, 1) against N(0, 1), the reward its value, beta 2: the optimum is m = 1 / beta."""
    mean, walked = torch.zeros(1, dtype=torch.float64, requires_grad=True), drawn(0, 64, 8)
    optimiser = torch.optim.Adam([mean], lr=0.02)
    for _ in range(400):
        scores = 2 * log_ratio(walked.reshape(-1, 1), mean.expand(512, 1), torch.ones(1)).view(64, 8)
        optimiser.zero_grad()
        pair_errors(scores, walked).mean().backward()
        optimiser.step()
    assert float(mean.detach()) == pytest.approx(0.5, abs=1e-4)


@given(seed=SEEDS, group=st.integers(2, 7))
def test_pairs_add_up_to_the_variance_of_what_is_missing(seed: int, group: int) -> None:
    """Half of the sum over both orders of a pair is group times the squares around the mean."""
    scores, rewards = drawn(seed, 3, group), drawn(seed + 1, 3, group)
    missing = scores - rewards
    expected = group * (missing - missing.mean(1, keepdim=True)).square().sum(1)
    assert torch.allclose(pair_errors(scores, rewards).sum((1, 2)) / 2, expected, atol=1e-10)


@given(seed=SEEDS, offset=st.integers(-8, 8))
def test_a_constant_of_a_prompt_changes_nothing(seed: int, offset: int) -> None:
    scores, rewards = drawn(seed, 3, 4), drawn(seed + 1, 3, 4).round(decimals=2)
    assert torch.allclose(pair_errors(scores, rewards), pair_errors(scores, rewards + offset), atol=1e-10)


@given(seed=SEEDS)
def test_of_two_clips_the_gradient_is_along_that_of_dpo(seed: int) -> None:
    """At scores of 0 both move the difference of the scores, prdp by the reward's difference and dpo by its sign."""
    scores, rewards = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True), drawn(seed, 4, 2)
    pair_errors(scores, rewards).sum().backward()
    found = scores.grad
    other = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    lead = (other[:, 0] - other[:, 1]) * (rewards[:, 0] - rewards[:, 1]).sign()
    (-logsigmoid(lead)).sum().backward()
    assert found is not None
    assert other.grad is not None
    size = 8 * (rewards[:, 0] - rewards[:, 1]).abs()
    assert torch.allclose(found, size[:, None] * other.grad, atol=1e-10)


def walks(learner: PolicyLearner, group: int = 3) -> Walks:
    """Trajectories of one prompt by the learner's policy, with rewards 0, 1, 2 and so on."""
    policy, seeds, steps = learner.policy, list(range(group)), learner.config.demonstration_steps
    assert isinstance(policy, SteppingPolicy)
    latents, points = Trajectories(steps, 1.0, range(steps - 1))(policy, ["a jig"] * group, seeds)
    noise = torch.stack([step_noise(seeds, place, latents) for place in range(steps - 1)], 1)
    taken = Steps(points[None], noise[None], policy.start(["a jig"], [0], steps)[1])
    return Walks(latents[None], taken, torch.arange(group)[None].float(), ["a jig"], {"reward": 0.0})


def moved_learner() -> PolicyLearner:
    """A learner whose policy is no longer the untuned model."""
    learner = PolicyLearner(tiny_policy(), CONFIG, Processes("no"))
    generator = torch.Generator().manual_seed(0)
    for parameter in learner.tuning.parameters:
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return learner


def test_the_log_ratio_of_a_step_is_what_it_was_when_it_was_taken() -> None:
    learner = moved_learner()
    made = walks(learner)
    assert made.steps
    now, taken = step_ratios(learner, made.steps, ["a jig"] * 3, 1)
    assert taken.abs().max() > 1e-4
    assert torch.allclose(now, taken, atol=1e-6)


def test_the_larger_one_of_loss_and_clipped_loss_counts() -> None:
    """Where nothing moved they are the same; with the clip next to 0, a step beyond it pulls only where it lost."""
    learner = moved_learner()
    made, (held, free) = walks(learner), (PRDP(beta=500.0, group=3, path="trajectory", clip=c) for c in (1e-9, 1e3))

    def losses(objective: PRDP) -> float:
        with torch.no_grad():
            return float(objective.losses(learner, made))

    assert losses(held) == pytest.approx(losses(free), rel=1e-3)
    for parameter in learner.tuning.parameters:
        parameter.data.mul_(0.9)
    assert losses(held) > losses(free) * (1 + 1e-6)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_an_interrupted_run_resumes_to_the_same_figures(tmp_path: Path, tuning: Tuning, path: str) -> None:
    config = replace(CONFIG, steps=3, tuning=tuning, options={"group": 3, "path": path})
    whole, resumed = whole_and_resumed(config, tmp_path)
    assert resumed == whole
    assert whole[0]["kl"] != 0


@pytest.mark.parametrize("path", PATHS)
def test_a_step_fits_its_own_rewards_better_and_better(path: str) -> None:
    """Gradient steps on one experience: the loss falls, and log-ratios stand as the rewards do."""
    config = replace(CONFIG, options={"path": path, "group": 3, "clip": 1e3}, learning_rate=2e-3, epochs=25)
    learner = PolicyLearner(tiny_policy(), config, Processes("no"))
    made, objective = walks(learner), make_objective(config)
    made = made if path == "trajectory" else replace(made, steps=None)
    fixed = made.draw(learner.policy, torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = float(objective.losses(learner, fixed))
    learner.learn(objective, made, torch.Generator().manual_seed(0))
    with torch.no_grad():
        after = float(objective.losses(learner, fixed))
    assert after < before


@pytest.mark.parametrize("path", PATHS)
def test_mixtures_with_sets_are_taken(path: str, tmp_path: Path) -> None:
    config = replace(CONFIG, reward="vendi:clap + -0.5 * per-song-fad:logmel@airs", options={"path": path, "group": 3})
    rows = tiny_run(config, tmp_path)
    assert all(row["gradient_norm"] > 0 and row["best_reward"] > row["reward"] for row in rows)
