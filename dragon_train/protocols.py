"""The contracts of the trainer: what a pipeline offers, what an objective is given, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from torch import Tensor, nn

    from dragon_rewards.media.media import Media
    from dragon_rewards.rewards import AnyReward
    from dragon_train.config import TrainConfig


@dataclass(frozen=True)
class Draw:
    """The random part of a denoising error; policy and reference are given the same draw.

    Attributes:
        noise: unit Gaussian noise in the shape of the latents.
        level: one noise level per clip, in the pipeline's own unit, (clips,).
    """

    noise: Tensor
    level: Tensor

    def select(self, rows: Tensor) -> Draw:
        """That of these clips."""
        return Draw(self.noise[rows], self.level[rows])

    @staticmethod
    def cat(parts: Sequence[Draw]) -> Draw:
        """Those of several sets of clips, one after the other."""
        return Draw(torch.cat([part.noise for part in parts]), torch.cat([part.level for part in parts]))


class Policy(Protocol):
    """A diffusion pipeline under tuning.

    Attributes:
        batch: most clips that are sampled or decoded at once.
        steps: diffusion steps of on-policy generations, where a run does not say otherwise.
        guidance: likewise classifier-free guidance; 1 is none.
    """

    batch: int
    steps: int
    guidance: float

    @property
    def pipeline(self) -> Any:
        """The diffusers pipeline itself."""
        ...

    @property
    def denoiser(self) -> nn.Module:
        """The network that is tuned; assignable, so that the reference can take its place."""
        ...

    @denoiser.setter
    def denoiser(self, network: nn.Module) -> None: ...

    @property
    def lora_targets(self) -> Sequence[str]:
        """Names of the linear layers that get an adapter by default."""
        ...

    def sample(
        self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float, gradient_steps: int = 0
    ) -> Tensor:
        """Latents of one clip per prompt; a clip depends on its own prompt and seed alone.

        Gradient flows through the last `gradient_steps` of the denoiser's steps; with 0, through none.
        """
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> media (clips, ...), with gradient where the latents have it."""
        ...

    def clips(self, latents: Tensor, prompts: Sequence[str]) -> Media:
        """Decoded, as rewards take them."""
        ...

    def write(self, latents: Tensor, stem: Path) -> Path:
        """Store one clip's media in a file named `stem` with a suffix of its kind; returns its path."""
        ...

    def condition(self, prompts: Sequence[str]) -> Mapping[str, Any]:
        """What the denoiser is told about the prompts: its further arguments, without guidance."""
        ...

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """Noise and noise levels as in the model's training."""
        ...

    def denoising_error(self, latents: Tensor, condition: Mapping[str, Any], draw: Draw) -> Tensor:
        """Mean squared error of the denoiser's native prediction, one value per clip, with gradient."""
        ...


@dataclass(frozen=True)
class Generations:
    """Clips of one set: latents for learning, media or their embeddings for the reward, the seeds they came from."""

    latents: Tensor
    clips: Media
    seeds: Sequence[int]

    @property
    def prompts(self) -> Sequence[str]:
        """One for each clip."""
        return self.clips.prompts or ()


class Experience(Protocol):
    """What one step gives an objective to learn from: a number of units, such as pairs of clips or trajectories."""

    @property
    def figures(self) -> Mapping[str, float]:
        """What is recorded of the step; `reward` is among them, the mean reward of what the policy made."""
        ...

    def __len__(self) -> int:
        """How many units."""
        ...

    def select(self, rows: Tensor) -> Self:
        """These units alone, with what was drawn for them."""
        ...

    def draw(self, policy: Policy, generator: torch.Generator) -> Self:
        """The same units with fresh noise for one gradient step."""
        ...


class Timer(Protocol):
    """Counts the seconds of the phases of a step."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Count what happens inside as this phase, which `metrics.csv` has as `<name>_s`."""
        ...


class Rollout(Protocol):
    """One step as an objective's `collect` sees it: its prompts, its random numbers, and the policy's generations.

    Attributes:
        reward: what is maximised.
        config: the configuration of the run.
        pool: clips of earlier steps, with the embeddings that the reward asks for.
        generator: draws random choices, the same in every process.
    """

    reward: AnyReward
    config: TrainConfig
    pool: Sequence[Media]
    generator: torch.Generator

    @property
    def prompts(self) -> Sequence[str]:
        """The prompts of the step."""
        ...

    @property
    def clock(self) -> Timer:
        """Counts the time of the phases."""
        ...

    def generate(self) -> Generations:
        """Generate one more clip for each prompt of the step, with new seeds."""
        ...


class Learner(Protocol):
    """The policy beside its frozen reference, as an objective's `losses` sees them.

    Attributes:
        policy: the pipeline that is tuned.
        config: the configuration of the run.
    """

    policy: Policy
    config: TrainConfig

    def denoising_error(self, latents: Tensor, prompts: Sequence[str], draw: Draw) -> Tensor:
        """The policy's denoising error of each clip: (clips,), with gradient."""
        ...

    def implicit_reward(self, latents: Tensor, prompts: Sequence[str], draw: Draw) -> Tensor:
        """r(x) = |reference error|^2 - |policy error|^2 of each clip with the same draw: (clips,), with gradient."""
        ...

    def note(self, name: str, values: Tensor) -> None:
        """Record a figure of each unit, (units,); the row of the step has its mean over all processes."""
        ...

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the units that all processes have in memory now, without gradient."""
        ...


AnyExperience = TypeVar("AnyExperience", bound=Experience)


class Objective(Protocol[AnyExperience]):
    """How a policy learns from a reward: what it collects in a step, and the loss on that."""

    def collect(self, rollout: Rollout) -> AnyExperience:
        """Let the policy generate, and judge what it made; the result is the same in every process."""
        ...

    def losses(self, learner: Learner, experience: AnyExperience) -> Tensor:
        """The losses to minimise, one for each unit: (units,), with gradient."""
        ...
