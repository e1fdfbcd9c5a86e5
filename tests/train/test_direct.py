"""The options of direct backpropagation: what they add to the loss and its gradient, and that runs with them resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny import CONFIG as TINY
from support.tiny import tiny_policy, whole_and_resumed

from dragon_rewards.errors import ConfigError
from dragon_rewards.mixture import compose_mixture
from dragon_train.config import TrainConfig, Tuning
from dragon_train.loop.learner import PolicyLearner
from dragon_train.loop.processes import Processes
from dragon_train.loop.rollout import clips_for
from dragon_train.objectives.configured import make_objective
from dragon_train.objectives.direct import DirectReward, Starts, balanced
from dragon_train.pipelines.stable_audio import StableAudioPolicy

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")

CONFIG = replace(
    TINY, objective="direct", reward="vendi:logmel + 0.5 * per-song-fad:logmel@airs", demonstration_steps=3
)
ALL = {"gradient_steps": 2, "eta": 1.0, "intermediate": 0.5, "balance": True, "weight_penalty": 0.01}
TEXTS = ["a jig", "an air", "a slow hymn"]


def learner_of(config: TrainConfig, moved: float = 0.0) -> PolicyLearner:
    """A learner on the tiny pipeline, whose weights may have moved at random."""
    learner = PolicyLearner(tiny_policy(), config, Processes("no"))
    generator = torch.Generator().manual_seed(0)
    for parameter in learner.tuning.parameters:
        parameter.data += moved * torch.randn(parameter.shape, generator=generator)
    return learner


def starts(config: TrainConfig, **settings: Any) -> Starts:
    return Starts(TEXTS, [1, 2, 3], compose_mixture(config.reward), {"reward": 0.0}, **settings)


def gradient(learner: PolicyLearner, loss: torch.Tensor) -> torch.Tensor:
    found = torch.autograd.grad(loss.sum(), learner.tuning.parameters, allow_unused=True)
    return torch.cat([each.flatten() for each in found if each is not None])


def test_without_options_the_loss_is_the_negative_reward_of_the_pipeline_s_own_clips() -> None:
    learner, given = learner_of(CONFIG, 0.05), starts(CONFIG)
    latents = learner.policy.sample(TEXTS, given.seeds, 3, CONFIG.guidance, 1)
    expected = -given.reward.value(clips_for(given.reward.parts, learner.policy, latents, TEXTS)).expand(3)
    found = DirectReward().losses(learner, given)
    assert torch.equal(found, expected)
    assert torch.equal(gradient(learner, found), gradient(learner, expected))


def test_the_gradient_of_a_kernel_distance_is_followed_and_a_count_has_none() -> None:
    kernel, count = (replace(CONFIG, reward=f"{name}:logmel@airs") for name in ("kad", "coverage"))
    learner = learner_of(kernel, 0.05)
    assert gradient(learner, DirectReward().losses(learner, starts(kernel))).norm() > 0
    with pytest.raises(ConfigError, match="'coverage:logmel@airs' has no gradient to follow; train by another"):
        DirectReward().losses(learner, starts(count))


@pytest.mark.parametrize("balance", [False, True])
def test_a_part_without_gradient_is_refused_though_the_mixture_has_one(*, balance: bool) -> None:
    mixed = replace(CONFIG, reward="vendi:logmel + coverage:logmel@airs")
    with pytest.raises(ConfigError, match="'coverage:logmel@airs' has no gradient to follow; train by another"):
        DirectReward(balance=balance).losses(learner_of(mixed, 0.05), starts(mixed))


def test_a_part_of_a_balanced_mixture_pulls_by_its_weight_whatever_its_unit(frozen_policy: StableAudioPolicy) -> None:
    """The gradient is that of unit gradients, weighed; the units of the two differ by orders of magnitude."""
    reward = compose_mixture("vendi:logmel + -2 * per-song-fad:logmel@airs")
    latents = frozen_policy.sample(TEXTS, [1, 2, 3], 2, 1.0).requires_grad_()

    def slope(value: torch.Tensor) -> torch.Tensor:
        (found,) = torch.autograd.grad(value.sum(), latents)
        return found.flatten(1)

    parts = [slope(each.value(clips_for([each], frozen_policy, latents, TEXTS))) for each in reward.parts]
    sizes = [float(part.norm()) for part in parts]
    assert max(sizes) > 10 * min(sizes)
    value = balanced(reward, frozen_policy, latents, TEXTS)
    expected = parts[0] / parts[0].norm(dim=1, keepdim=True) - 2 * parts[1] / parts[1].norm(dim=1, keepdim=True)
    assert torch.allclose(slope(value), expected, atol=1e-4)
    plain = reward.value(clips_for(reward.parts, frozen_policy, latents, TEXTS)).detach()
    assert value.detach().tolist() == pytest.approx([float(plain)] * 3, rel=1e-4)


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_the_distance_is_that_of_the_weights_as_they_act(tuning: Tuning) -> None:
    """Of adapters the sum of |B A|^2, written out; of all weights that of every difference."""
    learner = learner_of(replace(CONFIG, tuning=tuning), 0.1)
    found = learner.distance()
    if tuning == "lora":
        layers: list[Any] = [m for m in learner.policy.denoiser.modules() if hasattr(m, "lora_A")]
        products = [layer.get_delta_weight("default") for layer in layers]
        assert len(products) > 1
        assert float(found.detach()) == pytest.approx(
            sum(float(each.detach().square().sum()) for each in products), rel=1e-4
        )
    else:
        fresh = {name: value.clone() for name, value in tiny_policy().denoiser.named_parameters()}
        moved = [(value - fresh[name]).square().sum() for name, value in learner.policy.denoiser.named_parameters()]
        assert float(found.detach()) == pytest.approx(float(torch.stack(moved).sum().detach()), rel=1e-4)
    assert gradient(learner, found).norm() > 0


def test_a_penalty_keeps_the_weights_near_the_untuned_ones() -> None:
    """The stronger, the nearer, after as many gradient steps."""
    distances = []
    for penalty in (0.0, 1.0, 1e3):
        config = replace(CONFIG, options={"weight_penalty": penalty}, epochs=12, learning_rate=3e-3)
        learner = learner_of(config)
        learner.learn(make_objective(config), starts(config), torch.Generator().manual_seed(0))
        distances.append(float(learner.distance().detach()))
    assert distances[0] > distances[1] > distances[2] > 0


def test_randomness_is_drawn_anew_for_each_gradient_step() -> None:
    given, generator = starts(CONFIG, largest_eta=0.8), torch.Generator().manual_seed(0)
    drawn = [given.draw(learner_of(CONFIG).policy, generator).eta for _ in range(50)]
    assert len(set(drawn)) == 50
    assert 0 < min(drawn) < 0.1
    assert 0.7 < max(drawn) < 0.8


def test_intermediate_estimates_are_rewarded_as_the_clip_is() -> None:
    """Every step but the last that the gradient flows through, by the mean of their rewards."""
    learner, given = learner_of(CONFIG, 0.05), starts(CONFIG)
    objective = DirectReward(gradient_steps=3, intermediate=2.0)
    estimates = objective.estimates(learner, given)
    assert len(estimates) == 3
    values = [given.reward.value(clips_for(given.reward.parts, learner.policy, x, TEXTS)) for x in estimates]
    expected = -values[-1] - 2 * (values[0] + values[1]) / 2
    assert torch.allclose(objective.losses(learner, given), expected.expand(3), rtol=1e-4)


def test_intermediate_rewards_want_more_than_one_step_of_gradient() -> None:
    with pytest.raises(ConfigError, match=r"options\.intermediate: with gradient_steps = 1"):
        make_objective(replace(CONFIG, options={"intermediate": 0.5}))


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_an_interrupted_run_resumes_to_the_same_figures(tmp_path: Path, tuning: Tuning) -> None:
    config = replace(CONFIG, steps=3, tuning=tuning, options=ALL, epochs=2)
    whole, resumed = whole_and_resumed(config, tmp_path)
    assert resumed == whole
    assert all(row["gradient_norm"] > 0 for row in whole)
