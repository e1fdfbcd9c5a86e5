"""The implicit reward, its reference, and the objectives over it, on the embedded pipeline."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch

from dragon_train.demonstrations import Demonstrations
from dragon_train.learner import AllWeights, Learner, make_tuning
from dragon_train.objectives import DiffusionDPO, DiffusionKTO
from dragon_train.pipelines.base import Draw
from dragon_train.pipelines.stable_audio import StableAudioPolicy

PROMPTS = ["a slow hymn on the organ", "a lively jig on fiddle"]


def demonstrations(policy: StableAudioPolicy) -> Demonstrations:
    a, b = (policy.sample(PROMPTS, seeds, steps=2, guidance=1.0) for seeds in ((1, 2), (3, 4)))
    return Demonstrations(a, b, PROMPTS, PROMPTS, 0.0, 0.0)


@pytest.mark.parametrize("kind", ["all", "lora"])
def test_before_learning_policy_equals_reference(policy: StableAudioPolicy, kind: str) -> None:
    torch.manual_seed(0)
    learner = Learner(policy, make_tuning(policy, kind, rank=4))
    demos = demonstrations(policy)
    positive, negative = learner.implicit_rewards(demos, torch.Generator().manual_seed(0))
    assert positive.abs().max() == 0
    assert negative.abs().max() == 0
    dpo, kto = (
        objective(learner, demos, torch.Generator().manual_seed(0)).item()
        for objective in (DiffusionDPO(100.0), DiffusionKTO(100.0))
    )
    assert dpo == pytest.approx(math.log(2))
    assert kto == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["all", "lora"])
@pytest.mark.parametrize("objective", [DiffusionDPO(100.0), DiffusionKTO(100.0)])
def test_learning_prefers_positive_and_leaves_the_reference(
    policy: StableAudioPolicy, kind: str, objective: DiffusionDPO | DiffusionKTO
) -> None:
    torch.manual_seed(0)
    tuning = make_tuning(policy, kind, rank=4)
    learner = Learner(policy, tuning)
    demos = demonstrations(policy)
    condition = policy.condition(PROMPTS)
    draw = policy.draw(demos.positive, torch.Generator().manual_seed(9))
    with torch.no_grad(), tuning.reference():
        before = policy.denoising_error(demos.positive, condition, draw)
    optimiser = torch.optim.AdamW(tuning.parameters, 1e-3 if kind == "lora" else 1e-4, weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(12):
        optimiser.zero_grad()
        objective(learner, demos, generator).backward()
        optimiser.step()
    with torch.no_grad():
        margins = [torch.cat(learner.implicit_rewards(demos, torch.Generator().manual_seed(s))) for s in range(4)]
        positive, negative = torch.stack(margins).mean(0).chunk(2)
        with tuning.reference():
            after = policy.denoising_error(demos.positive, condition, draw)
    assert positive.mean() > negative.mean()
    assert torch.equal(before, after)


@pytest.mark.parametrize("kind", ["all", "lora"])
def test_weights_restore_the_policy(policy: StableAudioPolicy, kind: str) -> None:
    torch.manual_seed(0)
    tuning = make_tuning(policy, kind, rank=4)
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
    Learner(policy, AllWeights(policy)).implicit_rewards(demonstrations(policy), torch.Generator().manual_seed(0))
    reference, tuned = seen
    assert reference is tuned
    assert torch.equal(*reference.noise.chunk(2))
    assert torch.equal(*reference.level.chunk(2))
