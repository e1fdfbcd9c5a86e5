"""Blend the tuned and the untuned weights of a run, as adaptive and heterogeneous model averaging do.

With theta_k the weights of part k of the denoiser and s_k its share (arXiv 2309.06256, section 6, with the share as the
weight of the tuned model):

    theta_k(s_k) = theta_k(untuned) + s_k (theta_k(tuned) - theta_k(untuned))

One share for all parts is model averaging (AMA), a share for each is its heterogeneous form (HMA).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from peft import LoraConfig

from dragon_train.blend.parts import parts_of
from dragon_train.loop.learner import AllWeights, Lora
from dragon_train.loop.run_folder import ADAPTER, DENOISER, stored_config
from dragon_train.loop.start import start_of, take_start
from dragon_train.loop.tuning import load_adapter, load_denoiser, load_policy, read_adapter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from dragon_train.blend.shares import Shares
    from dragon_train.descriptors import PipelineInfo
    from dragon_train.protocols import Policy

Weights = dict[str, torch.Tensor]  # by name

RAISED = ".lora_B."  # in the name of the factor of an adapter that is 0 in the untuned model


class Blending:
    """A policy that can be any blend of what a run tuned with the untuned model.

    Attributes:
        tuning: the weights of the policy that were tuned.
        untuned: their values in the untuned model, by name.
        tuned: their values in the tuned model, by name.
        parts: the part of the denoiser that each belongs to, by name.
    """

    def __init__(self, tuning: AllWeights | Lora, untuned: Weights, tuned: Weights, parts: Mapping[str, int]) -> None:
        self.tuning, self.untuned, self.tuned, self.parts = tuning, untuned, tuned, parts

    @property
    def policy(self) -> Policy:
        """The policy, which is the blend that `become` named last."""
        return self.tuning.policy

    def weights(self, shares: Shares) -> dict[str, Tensor]:
        """Return the weights of a blend; with shares of 0 and of 1 they are the two models', bit for bit.

        Args:
            shares: one for each part.
        """
        return {name: blended(self.untuned[name], self.tuned[name], shares[part]) for name, part in self.parts.items()}

    def become(self, shares: Shares) -> None:
        """Give the policy the weights of a blend, which has a share for each part."""
        self.tuning.load(self.weights(shares))


def blended(untuned: Tensor, tuned: Tensor, share: float) -> Tensor:
    """Return the weights between two that a share names; counters, which are not learnt, are as they are untuned."""
    return torch.lerp(untuned, tuned, share) if untuned.is_floating_point() else untuned


def load_blending(info: PipelineInfo, run: Path, parts: int, device: torch.device) -> Blending:
    """Load a pipeline and what a finished run tuned of it.

    Args:
        info: the pipeline.
        run: the folder of the run.
        parts: the number of parts of the denoiser.
        device: where the policy computes.

    Raises:
        DragonError: the result is damaged or of another pipeline, or there are more parts than blocks.
    """
    start_of(run)
    policy = load_policy(info, None, device)
    begun = take_start(policy, stored_config(run))
    tuning, untuned, tuned = adapter(policy, run, begun) if (run / ADAPTER).is_file() else denoiser(policy, run)
    policy.pipeline.to(device)
    return Blending(tuning, untuned, tuned, parts_of(policy.denoiser, tuned, parts))


def adapter(policy: Policy, run: Path, begun: Mapping[str, Tensor] | None) -> tuple[Lora, Weights, Weights]:
    """Load adapters, and return them with their untuned and tuned weights.

    The change B A of a layer is scaled by its B alone, as a share of both would count twice: untuned, B is 0.

    Args:
        policy: the pipeline.
        run: the folder of the run.
        begun: the weights of the adapters that the run started from; None if it started from none.
    """
    if begun is not None:
        return further_adapter(policy, run, begun)
    tuning = load_adapter(policy, run)
    tuned = {name: value.detach().clone() for name, value in tuning.weights().items()}
    untuned = {name: torch.zeros_like(value) if RAISED in name else value for name, value in tuned.items()}
    return tuning, untuned, tuned


def further_adapter(policy: Policy, run: Path, begun: Mapping[str, Tensor]) -> tuple[Lora, Weights, Weights]:
    """Return adapters of twice the rank, with their untuned and tuned weights, of a run that started from adapters.

    With A0 and B0 of the start, A1 and B1 of the run and the share s, a layer changes by

        s B1 A1 + (1 - s) B0 A0 = [s B1, (1 - s) B0] [A1; A0]

    so that both models have the same A, and B is blended.
    """
    made, own = read_adapter(run)
    rank = 2 * made.r
    tuning = Lora(policy, LoraConfig(r=rank, lora_alpha=rank, target_modules=made.target_modules))
    tuned, untuned = dict[str, torch.Tensor](), dict[str, torch.Tensor]()
    for name, value in own.items():
        other = begun[name].to(value)
        if RAISED in name:
            tuned[name] = torch.cat([value, torch.zeros_like(other)], 1)
            untuned[name] = torch.cat([torch.zeros_like(value), other], 1)
        else:
            tuned[name] = untuned[name] = torch.cat([value, other])
    tuning.load(tuned)
    return tuning, untuned, tuned


def denoiser(policy: Policy, run: Path) -> tuple[AllWeights, Weights, Weights]:
    """Load a tuned denoiser, and return the policy's own with its untuned and tuned weights."""
    tuning = AllWeights(policy)
    load_denoiser(policy, run / DENOISER)
    tuned = dict(policy.denoiser.state_dict())
    policy.denoiser = tuning.tuned
    return tuning, dict(tuning.frozen.state_dict()), tuned
