"""The policy under tuning beside its frozen reference: a copy, or for LoRA the policy with its adapters off."""

from __future__ import annotations

from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Protocol

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

    from dragon_train.demonstrations import Demonstrations
    from dragon_train.pipelines.base import Draw, Policy


class Tuning(Protocol):
    """Which weights learn, and how the reference is reached."""

    parameters: list[nn.Parameter]

    def reference(self) -> AbstractContextManager[None]:
        """Inside, the policy's denoiser is the frozen reference."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """The tuned weights, to be stored."""
        ...

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Restore what `weights` gave."""
        ...


class AllWeights:
    """Every weight of the denoiser learns; the reference is a frozen copy."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.tuned = policy, policy.denoiser
        self.frozen = deepcopy(self.tuned).requires_grad_(False)
        self.parameters = [p for p in self.tuned.parameters() if p.requires_grad]

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Swap the frozen copy in."""
        self.policy.denoiser = self.frozen
        try:
            yield
        finally:
            self.policy.denoiser = self.tuned

    def weights(self) -> dict[str, Tensor]:
        """The denoiser's state."""
        return dict(self.tuned.state_dict())

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Restore the denoiser's state."""
        self.tuned.load_state_dict(weights)


class Lora:
    """Low-rank adapters learn (arXiv 2106.09685); the reference is the policy with its adapters off."""

    def __init__(self, policy: Policy, rank: int) -> None:
        self.config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(policy.lora_targets))
        self.denoiser = inject_adapter_in_model(self.config, policy.denoiser)
        self.parameters = [p for p in self.denoiser.parameters() if p.requires_grad]

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Switch the adapters off."""
        layers = [m for m in self.denoiser.modules() if isinstance(m, BaseTunerLayer)]
        for layer in layers:
            layer.enable_adapters(enabled=False)
        try:
            yield
        finally:
            for layer in layers:
                layer.enable_adapters(enabled=True)

    def weights(self) -> dict[str, Tensor]:
        """The adapters alone: saved together with the pipeline they would reload with fresh base weights."""
        return dict(get_peft_model_state_dict(self.denoiser))

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Restore the adapters."""
        set_peft_model_state_dict(self.denoiser, dict(weights))


def make_tuning(policy: Policy, kind: str, rank: int) -> Tuning:
    """`lora` or `all`."""
    return Lora(policy, rank) if kind == "lora" else AllWeights(policy)


class Learner:
    """Gives objectives the implicit rewards of demonstrations."""

    def __init__(self, policy: Policy, tuning: Tuning) -> None:
        self.policy, self.tuning = policy, tuning

    def implicit_reward(self, latents: Tensor, condition: Mapping[str, Tensor], draw: Draw) -> Tensor:
        """r(x) = |reference error|^2 - |policy error|^2, (clips,), proportional to log p_policy(x) / p_reference(x).

        The same draw serves both (arXiv 2311.12908, equation 13).
        """
        with torch.no_grad(), self.tuning.reference():
            reference = self.policy.denoising_error(latents, condition, draw)
        return reference - self.policy.denoising_error(latents, condition, draw)

    def implicit_rewards(self, demos: Demonstrations, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Of D+ and of D-, in one pass; `positive[i]` and `negative[i]` share noise and level."""
        draw = self.policy.draw(demos.positive, generator)
        both = type(draw)(torch.cat([draw.noise] * 2), torch.cat([draw.level] * 2))
        condition = self.policy.condition([*demos.positive_prompts, *demos.negative_prompts])
        rewards = self.implicit_reward(torch.cat([demos.positive, demos.negative]), condition, both)
        positive, negative = rewards.chunk(2)
        return positive, negative
