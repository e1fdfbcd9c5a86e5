"""The implicit reward, its reference, and gradient steps, on the embedded pipeline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from dragon_rewards.errors import ConfigError, DragonError
from dragon_train.config import TrainConfig, Tuning
from dragon_train.loop.learner import PolicyLearner
from dragon_train.loop.processes import Processes
from dragon_train.objectives.preference import Demonstrations, DiffusionDPO, DiffusionKTO, implicit_rewards
from dragon_train.pipelines.stable_audio import StableAudioPolicy
from dragon_train.protocols import Draw

PROMPTS = ["a slow hymn on the organ", "a lively jig on fiddle"]
CONFIG = TrainConfig("vendi:clap", tuning="all", learning_rate=1e-4, lora_rank=4, epochs=1)


def demonstrations(policy: StableAudioPolicy) -> Demonstrations:
    a, b = (policy.sample(PROMPTS, seeds, steps=2, guidance=1.0) for seeds in ((1, 2), (3, 4)))
    return Demonstrations(a, b, PROMPTS, PROMPTS, 0.0, 0.0)


def learner_of(policy: StableAudioPolicy, config: TrainConfig) -> PolicyLearner:
    torch.manual_seed(0)
    return PolicyLearner(policy, config, Processes(config.precision))


@pytest.mark.parametrize("kind", ["all", "lora"])
def test_before_learning_policy_equals_reference(policy: StableAudioPolicy, kind: Tuning) -> None:
    learner = learner_of(policy, replace(CONFIG, tuning=kind))
    demos = demonstrations(policy).draw(policy, torch.Generator().manual_seed(0))
    positive, negative = implicit_rewards(learner, demos)
    assert positive.abs().max() == 0
    assert negative.abs().max() == 0
    assert DiffusionDPO(100.0).losses(learner, demos).tolist() == pytest.approx([math.log(2)] * 2)
    assert DiffusionKTO(100.0).losses(learner, demos).tolist() == pytest.approx([1.0] * 2)


@pytest.mark.parametrize("kind", ["all", "lora"])
@pytest.mark.parametrize("objective", [DiffusionDPO(100.0), DiffusionKTO(100.0)])
def test_learning_prefers_positive_and_leaves_the_reference(
    policy: StableAudioPolicy, kind: Tuning, objective: DiffusionDPO | DiffusionKTO
) -> None:
    rate = 1e-3 if kind == "lora" else 1e-4
    learner = learner_of(policy, replace(CONFIG, tuning=kind, learning_rate=rate, epochs=12))
    demos = demonstrations(policy)
    condition = policy.condition(PROMPTS)
    draw = policy.draw(demos.positive, torch.Generator().manual_seed(9))
    with torch.no_grad(), learner.tuning.reference():
        before = policy.denoising_error(demos.positive, condition, draw)
    learnt = learner.learn(objective, demos, torch.Generator().manual_seed(0))
    assert learnt["margin"] > 0
    with torch.no_grad():
        drawn = [demos.draw(policy, torch.Generator().manual_seed(seed)) for seed in range(4)]
        margins = [torch.cat(implicit_rewards(learner, each)) for each in drawn]
        positive, negative = torch.stack(margins).mean(0).chunk(2)
        with learner.tuning.reference():
            after = policy.denoising_error(demos.positive, condition, draw)
    assert positive.mean() > negative.mean()
    assert torch.equal(before, after)


@pytest.mark.parametrize("kind", ["all", "lora"])
def test_weights_restore_the_policy(policy: StableAudioPolicy, kind: Tuning) -> None:
    tuning = learner_of(policy, replace(CONFIG, tuning=kind)).tuning
    with torch.no_grad():
        for parameter in tuning.parameters:
            parameter.add_(0.01)
    stored = {name: value.clone() for name, value in tuning.weights().items()}
    changed = policy.sample(PROMPTS, [1, 2], 2, 1.0)
    with torch.no_grad():
        for parameter in tuning.parameters:
            parameter.mul_(0.5)
    tuning.load(stored)
    assert torch.equal(policy.sample(PROMPTS, [1, 2], 2, 1.0), changed)


def test_policy_and_reference_get_the_same_draw_for_both_clips_of_a_pair(policy: StableAudioPolicy) -> None:
    seen: list[Draw] = []
    original = policy.denoising_error

    def spy(latents: torch.Tensor, condition: Mapping[str, torch.Tensor], draw: Draw) -> torch.Tensor:
        seen.append(draw)
        return original(latents, condition, draw)

    policy.denoising_error = spy  # type: ignore[method-assign]
    learner = learner_of(policy, CONFIG)
    implicit_rewards(learner, demonstrations(policy).draw(policy, torch.Generator().manual_seed(0)))
    reference, tuned = seen
    assert reference is tuned
    assert torch.equal(*reference.noise.chunk(2))
    assert torch.equal(*reference.level.chunk(2))


@pytest.mark.parametrize("sparing", [{"microbatch": 1}, {"gradient_checkpointing": True}])
def test_what_saves_memory_changes_no_gradient(sparing: dict[str, Any]) -> None:
    """Tolerance 1e-5 of the largest gradient: sums in another order."""
    from dragon_train.embedded.pipeline import load_policy
    from dragon_train.pipelines.loading import prepared

    gradients = []
    for config in (CONFIG, replace(CONFIG, **sparing)):
        policy = load_policy()
        processes = Processes("no")
        learner = PolicyLearner(prepared(policy, config, processes.device), config, processes)
        demos = demonstrations(policy).draw(policy, torch.Generator().manual_seed(1))
        learner.optimiser.step = lambda: None
        learner.update(DiffusionDPO(100.0), demos)
        gradients.append(torch.cat([p.grad.flatten() for p in learner.tuning.parameters if p.grad is not None]))
    whole, spared = gradients
    assert torch.allclose(whole, spared, atol=1e-5 * float(whole.abs().max()))
    assert whole.abs().max() > 0


def test_the_average_follows_the_weights_and_gives_them_back(policy: StableAudioPolicy) -> None:
    learner = learner_of(policy, replace(CONFIG, tuning="lora", ema=0.5, learning_rate=1e-3, epochs=3))
    learner.learn(DiffusionDPO(100.0), demonstrations(policy), torch.Generator().manual_seed(0))
    last = [p.detach().clone() for p in learner.tuning.parameters]
    with learner.averaged():
        averaged = [p.detach().clone() for p in learner.tuning.parameters]
    assert any(not torch.equal(a, b) for a, b in zip(averaged, last, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(learner.tuning.parameters, last, strict=True))


def test_layers_that_do_not_exist_are_refused(policy: StableAudioPolicy) -> None:
    with pytest.raises(ConfigError, match=r"lora_targets = \['to_nowhere'\]"):
        learner_of(policy, replace(CONFIG, tuning="lora", lora_targets=("to_nowhere",)))


def test_a_loss_that_is_not_finite_ends_the_step_before_the_weights_change(policy: StableAudioPolicy) -> None:
    learner = learner_of(policy, CONFIG)
    before = [p.detach().clone() for p in learner.tuning.parameters]
    demos = replace(demonstrations(policy), positive=torch.full_like(demonstrations(policy).positive, torch.nan))
    with pytest.raises(DragonError, match="loss became nan"):
        learner.learn(DiffusionDPO(100.0), demos, torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(learner.tuning.parameters, before, strict=True))
