"""The objectives order and dno: what they equal in their limits, and that the order of rewards is all they see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

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
from dragon_train.objective_options import OrderOptions
from dragon_train.objectives.advantages import win_rates
from dragon_train.objectives.dno import DNO
from dragon_train.objectives.groups import Groups
from dragon_train.objectives.order import Order, Ranked, order_loss, top_loss
from dragon_train.objectives.preference import Demonstrations, DiffusionDPO

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")

SEEDS = st.integers(0, 2**31)
RULES = get_args(get_args(get_type_hints(OrderOptions, include_extras=True)["rule"])[0])


def best_loss(scores: torch.Tensor, rewards: torch.Tensor) -> torch.Tensor:
    """`top`, of a single judge."""
    return top_loss(scores, rewards[None])


NAMES = {"full": order_loss, "top": best_loss}


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS)
def test_two_clips_have_the_loss_of_diffusion_dpo(name: str, seed: int) -> None:
    scores, rewards = drawn(seed, 5, 2), drawn(seed + 1, 5, 2)
    lead = (scores * rewards.argsort(1).argsort(1)).sum(1) - (scores * rewards.neg().argsort(1).argsort(1)).sum(1)
    assert torch.allclose(NAMES[name](scores, rewards), -logsigmoid(lead), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS)
def test_only_the_order_of_rewards_counts(name: str, seed: int) -> None:
    scores, rewards = drawn(seed, 3, 5), drawn(seed + 1, 3, 5)
    assert torch.equal(NAMES[name](scores, rewards), NAMES[name](scores, (3 * rewards).exp()))


@given(seed=SEEDS)
def test_the_whole_order_has_the_likelihood_of_choosing_the_best_again_and_again(seed: int) -> None:
    """Plackett-Luce, written out: the best of all, then the best of the rest, and so on."""
    scores, rewards = drawn(seed, 1, 5), drawn(seed + 1, 1, 5)
    left, expected = rewards[0].argsort(descending=True).tolist(), torch.zeros((), dtype=torch.float64)
    while left:
        expected -= scores[0, left].log_softmax(0)[0]
        left = left[1:]
    assert torch.allclose(order_loss(scores, rewards)[0], expected, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_clips_that_are_a_tie_are_pulled_alike(name: str) -> None:
    scores = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    NAMES[name](scores, torch.tensor([[1.0, 1.0, 0.0]])).sum().backward()
    assert scores.grad is not None
    left, middle, right = scores.grad[0].tolist()
    assert left == pytest.approx(middle)
    assert left < 0 < right


def test_a_front_keeps_what_no_weighting_of_two_rewards_would() -> None:
    """Four clips: the best of each judge, a compromise below the line between them, and one that is dominated."""
    judged = torch.tensor([[[1.0, 0.0, 0.45, 0.4]], [[0.0, 1.0, 0.45, 0.3]]])
    for weight in (0.1, 0.5, 0.9):
        assert int((weight * judged[0] + (1 - weight) * judged[1]).argmax()) != 2
    scores = torch.zeros(1, 4, requires_grad=True)
    top_loss(scores, judged).sum().backward()
    assert scores.grad is not None
    assert (scores.grad[0, :3] < 0).all()
    assert scores.grad[0, 3] > 0


def groups_of(judged: torch.Tensor) -> Groups:
    """Groups whose latents are the numbers of their clips."""

    class Numbered(Groups):
        latents = torch.arange(judged[0].numel(), dtype=torch.float32).view(judged.shape[1:])
        prompts = tuple(f"prompt {row}" for row in range(judged.shape[1]))

    return Numbered([], judged)


def paired(judged: torch.Tensor, margin: float) -> list[tuple[float, float]]:
    demos = DNO(beta=1.0, steps=3, margin=margin).pairs(groups_of(judged), win_rates(judged, 0.0).mean(0))
    return list(zip(demos.positive.tolist(), demos.negative.tolist(), strict=True))


def test_pairs_are_the_best_and_the_worst_of_a_group_that_a_jury_tells_apart() -> None:
    judged = torch.tensor([[[1.0, 3.0, 2.0], [1.0, 2.0, 3.0]], [[1.0, 3.0, 2.0], [3.0, 2.0, 1.0]]])
    assert paired(judged, 0.5) == [(1.0, 0.0)]  # of the second prompt the jurors say the opposite
    assert paired((2 * judged).exp(), 0.5) == [(1.0, 0.0)]
    assert paired(judged[:, 1:], 0.5) == []


def test_a_step_in_which_a_jury_tells_nothing_apart_learns_nothing_and_the_run_goes_on(tmp_path: Path) -> None:
    """Jurors that say nearly the opposite never agree on a clip that beats all and one that beats none."""
    reward = "per-song-fad:logmel@airs + -1 * per-song-fad:logmel@tunebook"  # nearly opposites
    config = replace(TINY, objective="dno", reward=reward, options={"margin": 1.0}, prompts_per_step=2, steps=3)
    rows = tiny_run(config, tmp_path)
    assert len(rows) == 3
    assert any(row["comparable"] == 0 for row in rows)
    assert all(("loss" in row) == (row["comparable"] > 0) for row in rows)


def test_one_round_of_two_clips_is_diffusion_dpo() -> None:
    """Bit for bit of `dno`; `order` takes the logarithm of a sum of exponentials. Before and after a gradient step."""
    policy, prompts = tiny_policy(), ["a slow hymn", "a jig", "an air"]
    learner = PolicyLearner(policy, replace(TINY, beta=50.0), Processes("no"))
    a, b = (policy.sample(prompts, seeds, 2, 1.0) for seeds in ((1, 2, 3), (4, 5, 6)))
    demos = Demonstrations(a, b, prompts, prompts, 0.0, 0.0).draw(policy, torch.Generator().manual_seed(0))
    ranked = Ranked(torch.stack([a, b], 1), prompts, torch.tensor([[[1.0, 0.0]] * 3]), {}, demos.noise)
    dpo, dno = DiffusionDPO(50.0), DNO(beta=50.0, steps=1, rounds=1)
    for _ in range(2):
        expected = dpo.losses(learner, demos)
        assert torch.equal(dno.losses(learner, demos), expected)
        for rule in ("top", "full", "front"):
            assert torch.allclose(Order(beta=50.0, group=2, rule=rule).losses(learner, ranked), expected, rtol=1e-4)
        learner.update(dpo, demos)
    assert expected.std() > 0


def test_rounds_change_what_the_policy_is_compared_with(tmp_path: Path) -> None:
    config = replace(TINY, objective="dno", steps=3)
    once, thrice = (tiny_run(replace(config, options={"rounds": rounds}), tmp_path / str(rounds)) for rounds in (1, 3))
    assert once[0]["loss"] == thrice[0]["loss"]
    assert once[1]["kl"] != 0
    assert thrice[1]["kl"] == 0  # each round has one gradient step, whose policy is the last round's


@pytest.mark.parametrize("rule", RULES)
def test_mixtures_with_sets_take_every_rule(rule: str, tmp_path: Path) -> None:
    reward = "vendi:clap + -0.5 * per-song-fad:logmel@airs"
    rows = tiny_run(replace(TINY, objective="order", reward=reward, options={"rule": rule}), tmp_path)
    assert all(row["gradient_norm"] > 0 and row["best_reward"] > row["reward"] for row in rows)


@pytest.mark.parametrize("tuning", ["lora", "all"])
@pytest.mark.parametrize("objective", ["order", "dno"])
def test_an_interrupted_run_resumes_to_the_same_figures(tmp_path: Path, tuning: Tuning, objective: str) -> None:
    config = replace(TINY, objective=objective, steps=3, tuning=tuning, options={"group": 3})
    whole, resumed = whole_and_resumed(config, tmp_path)
    assert resumed == whole
