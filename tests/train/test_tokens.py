"""Objectives on a pipeline of tokens: most run as they are, and DRAKES is `direct`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny import CONFIG as TINY
from support.tiny import figures, tiny_policy, tiny_run

from dragon_rewards.errors import DragonError
from dragon_rewards.mixture import compose_mixture
from dragon_train.config import Tuning
from dragon_train.loop.learner import PolicyLearner
from dragon_train.loop.processes import Processes
from dragon_train.masked.codebook import ProductCodebook
from dragon_train.masked.scheduler import MaskedScheduler
from dragon_train.objectives.direct import DirectReward, Starts
from dragon_train.objectives.divergence import mean_divergence, recorded
from dragon_train.protocols import DivergingPolicy

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")

NAME = "masked-audio"
CONFIG = replace(TINY, steps=1, demonstration_steps=3)
DRAKES = replace(CONFIG, objective="direct", options={"gradient_steps": 2, "kl": 0.1}, guidance=1.0)
TEXTS = ["a jig", "an air", "a slow hymn"]
RUN: dict[str, tuple[str, dict[str, Any]]] = {
    "dpo": ("dpo", {}),
    "kto": ("kto", {}),
    "raft": ("raft", {"samples": 2}),
    "nft": ("nft", {"group": 2}),
    "awm": ("nft", {"group": 2, "form": "awm", "kl": 0.1}),
    "order": ("order", {"group": 3}),
    "dno": ("dno", {"group": 2}),
    "prdp": ("prdp", {"group": 2}),
    "drakes": ("direct", {"gradient_steps": 2, "kl": 0.1}),
}
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "grpo": ("grpo", {"group": 2, "window": 1}),
    "trajectory": ("prdp", {"group": 2, "path": "trajectory"}),
    "eta": ("direct", {"eta": 1.0}),
}


@pytest.mark.parametrize("name", RUN)
def test_objectives_of_whole_clips_run_unchanged(name: str, tmp_path: Path) -> None:
    objective, options = RUN[name]
    config = replace(CONFIG, objective=objective, options=options, guidance=1.0)
    policy = tiny_policy(NAME)
    (row,) = tiny_run(config, tmp_path, policy)
    assert torch.isfinite(torch.tensor([row["loss"], row["reward"]])).all()
    moved = [weight for weight in policy.denoiser.named_parameters() if "lora_B" in weight[0]]
    assert any(float(weight.detach().abs().max()) > 0 for _, weight in moved)


@pytest.mark.parametrize("name", REFUSED)
def test_objectives_of_gaussian_steps_say_what_they_lack(name: str, tmp_path: Path) -> None:
    objective, options = REFUSED[name]
    with pytest.raises(DragonError, match="no Gaussian steps"):
        tiny_run(replace(CONFIG, objective=objective, options=options, guidance=1.0), tmp_path, tiny_policy(NAME))


def test_a_divergence_is_refused_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(DragonError, match=r"options\.kl: the steps of pipeline 'embedded' have no likelihood"):
        tiny_run(DRAKES, tmp_path)
    with pytest.raises(DragonError, match=r"options\.kl: steps with guidance = 2"):
        tiny_run(replace(DRAKES, guidance=2.0), tmp_path, tiny_policy(NAME))


def drakes_learner(moved: float, tuning: Tuning = "lora") -> PolicyLearner:
    learner = PolicyLearner(tiny_policy(NAME), replace(DRAKES, tuning=tuning), Processes("no"))
    generator = torch.Generator().manual_seed(0)
    for parameter in learner.tuning.parameters:
        parameter.data += moved * torch.randn(parameter.shape, generator=generator)
    return learner


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_the_divergence_of_a_run_is_0_at_first_and_is_of_its_recorded_steps(tuning: Tuning) -> None:
    found = []
    for moved in (0.0, 0.05):
        learner = drakes_learner(moved, tuning)
        with recorded(learner.policy.denoiser) as calls:
            learner.policy.sample(TEXTS, [1, 2, 3], 3, 1.0, gradient_steps=2)
        assert len(calls) == 2
        value = mean_divergence(learner, calls, 3).detach()
        assert isinstance(learner.policy, DivergingPolicy)
        with torch.no_grad(), learner.reference():
            parts = [learner.policy.divergence(a, b, learner.policy.denoiser(**a)[0]) for a, b in calls]
        assert float(value) == pytest.approx(float(torch.stack(parts).sum()) / 3, rel=1e-5, abs=1e-6)
        found.append(float(value))
    assert found[0] == pytest.approx(0, abs=1e-5)
    assert found[1] > 1e-3


def test_the_loss_is_direct_s_with_the_divergence_weighed() -> None:
    learner = drakes_learner(0.05)
    given = Starts(TEXTS, [1, 2, 3], compose_mixture("vendi:logmel"), {"reward": 0.0})
    plain = DirectReward(gradient_steps=2).losses(learner, given)
    both = DirectReward(gradient_steps=2, kl=0.5).losses(learner, given)
    with recorded(learner.policy.denoiser) as calls:
        learner.policy.sample(TEXTS, [1, 2, 3], 3, 1.0, gradient_steps=2)
    assert torch.allclose(both, plain + 0.5 * mean_divergence(learner, calls, 3), atol=1e-5)


def test_a_stronger_divergence_keeps_the_policy_nearer(tmp_path: Path) -> None:
    kept = {}
    for kl in (1e-3, 10.0):
        config = replace(DRAKES, options={"gradient_steps": 2, "kl": kl}, steps=6, epochs=2)
        kept[kl] = figures(tiny_run(config, tmp_path / str(kl), tiny_policy(NAME)))[-1]["kl"]
    assert 0 < kept[10.0] < kept[1e-3]


@pytest.mark.parametrize(("relaxation", "least", "most"), [(0.2, 0, 1e-3), (0.5, 5e-4, 5e-3), (1.0, 0.01, 0.05)])
def test_the_best_trade_of_reward_and_divergence_is_found(relaxation: float, least: float, most: float) -> None:
    """One token of eight values, one step: the optimum is p(y) ~ q(y) exp(r(y) / alpha), found to 1e-3 nats.

    The warmer the relaxation, the farther from it. The reward is linear in one-hot tokens, 400 of which are drawn at
    once.
    """
    torch.manual_seed(0)
    scheduler, count, alpha = MaskedScheduler(relaxation=relaxation), 400, 1.0
    scheduler.codebook = ProductCodebook(8, 1, 8)
    scheduler.codebook.centroids.copy_(torch.eye(8)[None])
    scheduler.set_timesteps(1)
    untuned, reward = torch.randn(8).log_softmax(0), 2 * torch.randn(8)
    logits = untuned.clone().requires_grad_()
    optimiser = torch.optim.Adam([logits], 0.1)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 150)
    for _ in range(150):
        answer, start = logits[None, :, None].expand(1, 8, count), torch.zeros(1, 8, count)
        drawn = scheduler.step(answer, torch.ones(()), start).prev_sample
        logs = logits.log_softmax(0)
        loss = alpha * (logs.exp() * (logs - untuned)).sum() - (reward @ drawn[0]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()
    best, found = (untuned + reward / alpha).log_softmax(0), logits.detach().log_softmax(0)
    assert least <= float((best.exp() * (best - found)).sum()) < most
    assert float((best.exp() * (best - untuned)).sum()) > 0.2  # it was not there at first
