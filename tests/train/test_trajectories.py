"""Random diffusion steps with known likelihood: their arithmetic, and that every adapter takes the same ones twice."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from support.pipelines import BUILDERS
from support.tiny import CONFIG as TINY
from support.tiny import tiny_policy, tiny_run
from torch import Tensor

from dragon_rewards.errors import ConfigError
from dragon_train.loop.learner import PolicyLearner
from dragon_train.loop.processes import Processes
from dragon_train.objectives.trajectories import (
    Trajectories,
    log_ratio,
    policy_step,
    step_noise,
    stochastic_step,
    walk,
)
from dragon_train.pipelines.noise import FlowMatching
from dragon_train.protocols import SteppingPolicy

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")

PROMPTS, SEEDS = ["a slow hymn on the organ", "a jig"], [5, 6]
NAMES = [name for name in BUILDERS if name != "masked-audio"]  # whose steps are of tokens
OWN_STEPS = ["stable-audio-3", "ace-step", "longcat-audio", "audioldm2", "audioldm", "musicldm"]  # Euler or DDIM


def spread_of_flow(eta: float, steps: int) -> tuple[float, float]:
    """Mean and deviation of what flow steps make of noise, with the exact denoiser of normal data N(1, 0.5^2).

    All is linear in normal variables, so that mean and variance follow from the step at 0 and at 1.
    """
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:-1]
    mean, variance = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)

    def denoiser(x: Tensor, t: Tensor) -> Tensor:
        gain = (1 - t) * 0.25 / ((1 - t) ** 2 * 0.25 + t**2)
        return 1 + gain * (x - (1 - t))

    for now, then in zip(times, [*times[1:], None], strict=True):
        ends = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        made, noise = denoiser(ends, now), torch.zeros(1, dtype=torch.float64)
        if then is not None:
            before, after = ((1 - t, t) for t in (now.expand(2), then.expand(2)))
            made, deviation, _ = stochastic_step(ends, made, before, after, eta)
            noise = deviation[0]
        offset, slope = made[0], made[1] - made[0]
        mean, variance = offset + slope * mean, slope**2 * variance + noise**2
    return float(mean), math.sqrt(float(variance))


@pytest.mark.parametrize(
    ("eta", "at_8", "at_25"), [(0, 0.415, 0.472), (0.3, 0.411, 0.469), (0.7, 0.397, 0.458), (1, 0.367, 0.444)]
)
def test_normal_data_keep_their_mean_and_nearly_their_spread(eta: float, at_8: float, at_25: float) -> None:
    """The true deviation is 0.5; how near a number of steps comes was found elsewhere, by drawing."""
    for steps, expected in ((8, at_8), (25, at_25)):
        mean, deviation = spread_of_flow(eta, steps)
        assert mean == pytest.approx(1, abs=0.003)
        assert deviation == pytest.approx(expected, abs=2e-3)


@given(alpha=st.floats(0, 0.9), gap=st.floats(0.01, 0.09), eta=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_a_step_keeps_the_noise_that_its_level_has(alpha: float, gap: float, eta: float, seed: int) -> None:
    """Of clean latents that are known, noisy ones at one level become noisy ones at the next, whatever eta is.

    The noise that is kept and the noise that is new add up to sigma squared, as does the mean to alpha times the clip.
    """
    now, then = (torch.tensor([a]).double() for a in (alpha, alpha + gap))
    clean, noise = torch.randn(2, 1, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    before, after = ((a, (1 - a.square()).sqrt()) for a in (now, then))
    noisy = before[0] * clean + before[1] * noise
    mean, deviation, weight = stochastic_step(noisy, clean, before, after, eta)
    kept = ((mean - after[0] * clean) / noise).mean()
    assert float(kept**2 + deviation.square()) == pytest.approx(float(after[1].square()), rel=1e-9)
    shifted = stochastic_step(noisy, clean + 1, before, after, eta)[0]
    assert torch.allclose(shifted - mean, weight.expand_as(mean), atol=1e-12)
    assert float(weight) > 0


@given(seed=st.integers(0, 2**31), deviation=st.floats(0.1, 10))
def test_the_log_ratio_is_the_difference_of_normal_log_densities(seed: int, deviation: float) -> None:
    mean, other, noise = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    taken = other + deviation * noise
    found = log_ratio(noise, mean - other, torch.tensor(deviation))
    expected = norm.logpdf(taken, mean, deviation) - norm.logpdf(taken, other, deviation)
    assert torch.allclose(found, torch.as_tensor(expected).mean(1), atol=1e-9)


@pytest.mark.parametrize("name", OWN_STEPS)
def test_without_randomness_the_steps_are_the_pipeline_s_own(name: str) -> None:
    policy = tiny_policy(name)
    expected = policy.sample(PROMPTS, SEEDS, 4, 1.0)
    found, _ = Trajectories(4, 0.0, range(1))(policy, PROMPTS, SEEDS)
    assert torch.allclose(found, expected, rtol=1e-3, atol=2e-3)


def test_edm_s_steps_come_near_to_the_solver_s_with_their_number(frozen_policy: Any) -> None:
    """The embedded pipeline's solver is of second order."""
    errors = []
    for steps in (8, 40):
        expected = frozen_policy.sample(PROMPTS[:1], [1], steps, 1.0)
        found, _ = Trajectories(steps, 0.0, range(1))(frozen_policy, PROMPTS[:1], [1])
        errors.append(float((found - expected).square().mean().sqrt()))
    assert errors[1] < 0.06 < errors[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_depends_on_its_own_prompt_and_seed(name: str) -> None:
    policy, sampler = tiny_policy(name), Trajectories(4, 1.0, range(1, 3))
    (both, points), (alone, _) = sampler(policy, PROMPTS, SEEDS), sampler(policy, PROMPTS[1:], SEEDS[1:])
    assert points.shape == (2, sampler.points, *both.shape[1:])
    assert torch.allclose(both[1:], alone, atol=1e-3)
    assert not torch.allclose(both[1:], sampler(policy, PROMPTS[1:], [7])[0], atol=1e-2)
    assert not torch.equal(both[1:], sampler(policy, PROMPTS[:1], SEEDS[1:])[0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("together", [1, 4])
def test_the_ratio_is_1_before_the_first_update(name: str, together: int) -> None:
    """On every adapter, also where the batch is another than the steps were taken in."""
    policy, window = tiny_policy(name), range(1, 3)
    _, points = Trajectories(4, 0.7, window)(policy, PROMPTS, SEEDS)
    learner = PolicyLearner(policy, replace(TINY, demonstration_steps=4), Processes("no"))
    assert isinstance(policy, SteppingPolicy)
    levels = policy.start(PROMPTS[:1], [0], 4)[1]
    units = [(clip, place) for place in window for clip in range(2)]
    for start in range(0, 4, together):
        clips, places = zip(*units[start : start + together], strict=True)
        before, after = (
            torch.stack([points[c, p - 1 + i] for c, p in zip(clips, places, strict=True)]) for i in (0, 1)
        )
        noise = torch.cat([step_noise([SEEDS[c]], p, before) for c, p in zip(clips, places, strict=True)])
        pairs = torch.stack([levels[place : place + 2] for place in places])
        mean, deviation, _ = policy_step(learner, before, [PROMPTS[clip] for clip in clips], pairs, 0.7)
        shift = mean - (after - deviation * noise)
        assert log_ratio(noise, shift, deviation).abs().max() < 1e-5


def test_gradient_flows_through_the_last_steps_alone() -> None:
    policy = tiny_policy()
    learner = PolicyLearner(policy, TINY, Processes("no"))
    for parameter in learner.tuning.parameters:
        parameter.data.add_(0.1)
    *_, (noisy, estimate) = walk(policy, PROMPTS, SEEDS, SEEDS, [0.5] * 3, gradient_from=2)
    assert not noisy.requires_grad
    estimate.sum().backward()
    one = [parameter.grad.clone() for parameter in learner.tuning.parameters if parameter.grad is not None]
    *_, (noisy, estimate) = walk(policy, PROMPTS, SEEDS, SEEDS, [0.5] * 3)
    assert noisy.requires_grad
    assert any(gradient.abs().max() > 0 for gradient in one)


class Own:
    """A policy of another trainer, which does not say what its steps are."""


def test_a_policy_without_steps_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="Own has no `start` and `coefficients`"):
        list(walk(Own(), PROMPTS, SEEDS, SEEDS, [0.0]))  # type: ignore[arg-type]


def test_fewer_levels_than_random_steps_are_refused() -> None:
    """A flow of whole thousandths at most: two steps of a schedule may be one level."""
    policy: Any = tiny_policy("audioldm")
    policy.noise.scheduler.set_timesteps(2)
    with pytest.raises(ConfigError, match="demonstration_steps = 4"):
        Trajectories(4, 1.0, range(4))(policy, PROMPTS, SEEDS)


def test_times_that_count_from_noise_are_turned_around() -> None:
    policy: Any = tiny_policy("longcat-audio")
    assert isinstance(policy.noise, FlowMatching)
    levels = policy.start(PROMPTS[:1], [0], 4)[1]
    assert levels.tolist() == pytest.approx([1.0, 0.75, 0.5, 0.25])


@pytest.mark.parametrize("objective", ["grpo", "prdp"])
def test_guidance_is_left_out_and_said(objective: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {"path": "trajectory"} if objective == "prdp" else {"window": 1}
    config = replace(TINY, objective=objective, options=options, guidance=4.0, steps=2)
    with caplog.at_level(logging.WARNING):
        tiny_run(config, tmp_path)
    assert caplog.text.count("without guidance, not at guidance = 4") == 1
