"""Tell how far the steps that sampling takes are from the untuned model's, of pipelines whose steps have a likelihood.

The divergence of masked tokens is exact (DRAKES, arXiv 2410.13643, has it as the integral of a continuous-time chain).
"""

from __future__ import annotations

from contextlib import contextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.errors import ConfigError
from dragon_train.protocols import DivergingPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

    from dragon_train.protocols import Learner, Rollout

    Calls = list[tuple[Mapping[str, Any], Tensor]]  # arguments of the denoiser by name, and its answer


def check_diverging(rollout: Rollout) -> None:
    """Refuse a divergence that the pipeline cannot tell.

    Raises:
        ConfigError: its steps have no likelihood, or are guided by a second answer.
    """
    if not isinstance(rollout.policy, DivergingPolicy):
        raise ConfigError(
            f"options.kl: the steps of pipeline '{rollout.config.pipeline}' have no likelihood, as steps of tokens "
            "have; leave it 0, and hold the weights by options.weight_penalty"
        )
    if rollout.config.guidance != 1:
        raise ConfigError(
            f"options.kl: steps with guidance = {rollout.config.guidance:g} are of two answers, and their divergence "
            "is not computed; set guidance = 1"
        )


@contextmanager
def recorded(denoiser: nn.Module, *, wanted: bool = True) -> Iterator[Calls]:
    """Record the calls of a denoiser inside the block whose answers have gradient, if they are wanted."""
    calls: Calls = []

    def record(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any], answer: tuple[Tensor]) -> None:
        if wanted and answer[0].requires_grad:
            calls.append((signature(denoiser.forward).bind(*args, **named).arguments, answer[0]))

    handle = denoiser.register_forward_hook(record, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def mean_divergence(learner: Learner, calls: Calls, clips: int) -> Tensor:
    """Return the KL divergence of the policy's steps from the untuned model's in nats for a clip, (), with gradient.

    It is the sum over the recorded steps, at the noisy latents that the policy came through:

        KL = sum over steps of KL(policy(. | x_t) || untuned(. | x_t))

    The gradient is of the policy's answers; the untuned model's answers are taken as they are.

    Raises:
        TypeError: the policy's steps have no likelihood.
    """
    policy, total = learner.policy, torch.zeros(())
    if not isinstance(policy, DivergingPolicy):
        raise TypeError("this pipeline's steps have no likelihood: call `check_diverging` first")
    for asked, answer in calls:
        with torch.no_grad(), learner.reference(), learner.autocast():
            untuned: Tensor = policy.denoiser(**asked)[0]
        total = total.to(answer.device) + policy.divergence(asked, answer, untuned).sum()
    return total / clips
