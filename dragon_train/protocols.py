"""Define the contracts of the trainer: what it asks of a pipeline and of an objective, and what it gives them.

The loop (`dragon_train.loop.loop`) knows a pipeline as a `Policy` and a way to learn as an `Objective`. In every step
the objective's `collect` is given a `Rollout`, asks it for `Generations`, and returns an `Experience`. Then, for each
part of that experience, its `losses` is given a `Learner` and returns what to minimise. Plugins implement `Policy`,
`Objective` and `Experience`; the trainer implements `Rollout` and `Learner`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeVar, runtime_checkable

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from torch import Tensor, nn

    from dragon_rewards.media.media import Media
    from dragon_rewards.rewards import AnyReward
    from dragon_train.config import TrainConfig


Against = Literal["reference", "previous"]  # what the policy is compared with


@dataclass(frozen=True)
class Draw:
    """The random part of a denoising error; policy and reference are given the same draw.

    Attributes:
        noise: unit Gaussian noise in the shape of the latents, (clips, ...); of tokens a uniform number for each.
        level: one noise level per clip, in the unit of the pipeline's noise process, (clips,).
    """

    noise: Tensor
    level: Tensor

    def select(self, rows: Tensor) -> Draw:
        """Return the noise and the levels of the clips that `rows`, a tensor of indices, names."""
        return Draw(self.noise[rows], self.level[rows])

    @staticmethod
    def cat(parts: Sequence[Draw]) -> Draw:
        """Join the draws of several sets of clips into one, in their order."""
        return Draw(torch.cat([part.noise for part in parts]), torch.cat([part.level for part in parts]))


class Policy(Protocol):
    """A diffusion pipeline under tuning: it samples clips, decodes them, and tells how well its denoiser predicts them.

    Attributes:
        batch: the most clips that are sampled or decoded at once.
        steps: the diffusion steps of on-policy generations, where a run does not set them.
        guidance: the classifier-free guidance of on-policy generations, where a run does not set it; 1 is none.
    """

    batch: int
    steps: int
    guidance: float

    @property
    def pipeline(self) -> Any:
        """The diffusers pipeline that the policy wraps."""
        ...

    @property
    def denoiser(self) -> nn.Module:
        """The network that is tuned; it can be assigned, so that the reference can take its place."""
        ...

    @denoiser.setter
    def denoiser(self, network: nn.Module) -> None: ...

    @property
    def lora_targets(self) -> Sequence[str]:
        """The names of the linear layers that get an adapter by default."""
        ...

    def sample(
        self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float, gradient_steps: int = 0
    ) -> Tensor:
        """Sample the latents of one clip per prompt; a clip depends on its own prompt and seed alone.

        Args:
            prompts: one text per clip.
            seeds: one number per clip, from which its initial noise is drawn.
            steps: the number of diffusion steps.
            guidance: the strength of classifier-free guidance; 1 is none.
            gradient_steps: the number of the last diffusion steps through whose denoiser calls gradient flows; 0 is
                none.

        Returns:
            The latents, (clips, ...), in the pipeline's own layout.
        """
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (clips, ...) into media (clips, ...), with gradient where the latents have it."""
        ...

    def clips(self, latents: Tensor, prompts: Sequence[str]) -> Media:
        """Decode latents into clips with their prompts, in the form that rewards take."""
        ...

    def write(self, latents: Tensor, stem: Path) -> Path:
        """Decode one clip and store it in a file.

        Args:
            latents: the latents of one clip, without a dimension for clips.
            stem: the path of the file without its suffix, which depends on the kind of media.

        Returns:
            The path of the file.
        """
        ...

    def condition(self, prompts: Sequence[str]) -> Mapping[str, Any]:
        """Return what the denoiser is told about the prompts, without guidance, as its further arguments by name."""
        ...

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """Draw noise and one noise level per clip from the distribution that the model was trained with."""
        ...

    def denoising_error(self, latents: Tensor, condition: Mapping[str, Any], draw: Draw) -> Tensor:
        """Return the mean squared error of the denoiser's native prediction for each clip, (clips,), with gradient.

        Of tokens it is the bound on their negative log-likelihood.

        Args:
            latents: clean latents, (clips, ...).
            condition: what `condition` returned for their prompts.
            draw: the noise that is added to them, and its levels.
        """
        ...

    def denoised(self, latents: Tensor, condition: Mapping[str, Any], draw: Draw) -> Tensor:
        """Return the clean latents that the denoiser's prediction amounts to, (clips, ...), with gradient.

        Args:
            latents: clean latents, (clips, ...).
            condition: what `condition` returned for their prompts.
            draw: the noise that is added to them, and its levels.
        """
        ...


@runtime_checkable
class LatentPolicy(Protocol):
    """What a policy may say besides: whose latents it samples, so that an encoder that is the same need not decode."""

    def decodes_by(self, autoencoder: nn.Module) -> bool:
        """Return whether this network has the weights of the pipeline's own, and decodes latents as they are sampled.

        Args:
            autoencoder: the network of an encoder (`dragon_rewards.LatentEncoder`), on any device.
        """
        ...


@runtime_checkable
class SteppingPolicy(Policy, Protocol):
    """What a policy may say besides: where sampling starts, and how much noise each of its steps begins with.

    With it, the trainer takes the steps itself (`dragon_train.objectives.trajectories`).
    """

    def start(self, prompts: Sequence[str], seeds: Sequence[int], steps: int) -> tuple[Tensor, Tensor]:
        """Return the noise that sampling starts from, (clips, ...), and the levels of its steps, noisiest first.

        Args:
            prompts: one text per clip.
            seeds: one number per clip, from which its noise is drawn.
            steps: the number of diffusion steps; where the pipeline visits a level twice, there are fewer levels.
        """
        ...

    def coefficients(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma of levels (clips,), both (clips,): noisy latents are alpha latents + sigma noise."""
        ...


@runtime_checkable
class DivergingPolicy(Policy, Protocol):
    """What a policy may say besides: how far a step is from another's, as steps of tokens can."""

    def divergence(self, asked: Mapping[str, Any], answer: Tensor, other: Tensor) -> Tensor:
        """Return the KL divergence of the step that one answer of the denoiser takes from another's, in nats, (clips,).

        Args:
            asked: the arguments of the denoiser's call, by name.
            answer: what the one answered.
            other: what the other answers to the same.
        """
        ...


class Sampler(Protocol):
    """A way to sample that is not the pipeline's own."""

    @property
    def points(self) -> int:
        """The number of points that it records of each clip."""
        ...

    def __call__(self, policy: Policy, prompts: Sequence[str], seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the latents of one clip per prompt, (clips, ...), and the points on their way, (clips, points, ...).

        A clip depends on its own prompt and seed alone.
        """
        ...


@dataclass(frozen=True)
class Generations:
    """One set of clips: latents to learn from, media or their embeddings to judge, and the seeds they came from.

    Attributes:
        latents: what the pipeline sampled, (clips, ...).
        clips: the decoded media, or their embeddings alone when these are known.
        seeds: one number per clip.
        path: the points that a sampler of the objective's own recorded, (clips, points, ...).
    """

    latents: Tensor
    clips: Media
    seeds: Sequence[int]
    path: Tensor | None = None

    @property
    def prompts(self) -> Sequence[str]:
        """The prompts of the clips, one text for each; none where the clips have no prompts."""
        return self.clips.prompts or ()


class Experience(Protocol):
    """What one step gives an objective to learn from: a number of units, such as pairs of clips or trajectories."""

    @property
    def figures(self) -> Mapping[str, float]:
        """The numbers recorded of the step; `reward` is among them, the mean reward of what the policy made."""
        ...

    def __len__(self) -> int:
        """Return the number of units."""
        ...

    def select(self, rows: Tensor) -> Self:
        """Return the units that `rows`, a tensor of indices, names, with what was drawn for them."""
        ...

    def draw(self, policy: Policy, generator: torch.Generator) -> Self:
        """Return the same units with fresh noise for one gradient step."""
        ...


class Timer(Protocol):
    """A counter of the seconds that each phase of a step takes."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Count what happens in the `with` block as this phase, which `metrics.csv` has as `<name>_s`, in seconds."""
        ...


class Rollout(Protocol):
    """One step as an objective's `collect` sees it: its prompts, its random numbers, and the policy's generations.

    Attributes:
        reward: the reward that is maximised.
        policy: the pipeline that is tuned, which generates.
        config: the configuration of the run.
        step: the number of the step, from 0.
        pool: the clips of earlier steps, with the embeddings that the reward asks for.
        generator: the source of random choices, in the same state in every process.
    """

    reward: AnyReward
    policy: Policy
    config: TrainConfig
    step: int
    pool: Sequence[Media]
    generator: torch.Generator

    @property
    def prompts(self) -> Sequence[str]:
        """The prompts of the step, `prompts_per_step` of them."""
        ...

    @property
    def clock(self) -> Timer:
        """The timer of the run, with which an objective counts its own phases."""
        ...

    def generate(self, rows: Sequence[int] | None = None, sampler: Sampler | None = None) -> Generations:
        """Generate one more clip for each prompt of the step, with new seeds.

        Args:
            rows: the prompts to generate for, as places in `prompts`, which may repeat; None is each of them once.
            sampler: what samples in place of the pipeline's own sampler.
        """
        ...

    def previous(self) -> AbstractContextManager[None]:
        """Let the previous policy generate inside the block (`Learner.previous`)."""
        ...

    def untuned(self, place: int) -> Generations:
        """Generate a clip for each prompt of the step by the untuned model, to compare with; no step learns from it.

        Args:
            place: the number of the set among the untuned model's in this step, from 0; by it seeds are the set's own.
        """
        ...

    def gradient_norms(self, latents: Tensor, prompts: Sequence[str]) -> Tensor:
        """Return how hard the policy would be pulled toward each clip, as `Learner.gradient_norm` has it, (clips,).

        All clips are noised alike, so that nothing else tells them apart.
        """
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
        """Return the policy's denoising error for each clip, (clips,), with gradient."""
        ...

    def denoised(self, latents: Tensor, prompts: Sequence[str], draw: Draw) -> Tensor:
        """Return what the policy makes of noised latents, (clips, ...): its estimate of the latents, with gradient."""
        ...

    def autocast(self) -> AbstractContextManager[None]:
        """Let the policy compute in the precision of the run inside the block, as `denoised` does by itself."""
        ...

    def reference(self) -> AbstractContextManager[None]:
        """Make the policy the untuned model inside the block; what has gradient has to be computed outside of it."""
        ...

    def previous(self) -> AbstractContextManager[None]:
        """Make the policy what it was at the last `follow`, at first untuned, inside the block."""
        ...

    def follow(self, share: float) -> None:
        """Move the previous policy to what the policy is now; of what it was it keeps a `share`."""
        ...

    def implicit_reward(
        self, latents: Tensor, prompts: Sequence[str], draw: Draw, against: Against = "reference"
    ) -> Tensor:
        """Return how much better the policy denoises each clip than another does, (clips,), with gradient.

        The other is the untuned model or the previous policy. Both are given the same draw:

            r(x) = |reference error|^2 - |policy error|^2
        """
        ...

    def distance(self) -> Tensor:
        """Return the squared distance of the tuned weights from the untuned ones, a scalar, with gradient."""
        ...

    def gradient_norm(self, latents: Tensor, prompts: Sequence[str], draw: Draw) -> float:
        """Return the norm of the gradient of the denoising error in the last matrix of weights that learns."""
        ...

    def note(self, name: str, values: Tensor) -> None:
        """Record a figure of each unit, (units,); the row of the step has its mean over all processes."""
        ...

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the units that all processes have in memory now, without gradient."""
        ...


AnyExperience = TypeVar("AnyExperience", bound=Experience)


class Objective(Protocol[AnyExperience]):
    """How a policy learns from a reward: what it collects in a step, and the loss on that."""

    def collect(self, rollout: Rollout) -> AnyExperience:
        """Let the policy generate, judge what it made, and return what to learn from, alike in every process."""
        ...

    def losses(self, learner: Learner, experience: AnyExperience) -> Tensor:
        """Return the losses to minimise, one for each unit of the experience: (units,), with gradient."""
        ...


@runtime_checkable
class Following(Protocol):
    """What an objective may do besides: say after each step how the previous policy follows the policy."""

    def after(self, learner: Learner, step: int) -> None:
        """Call `learner.follow`, or not; `step` is the number of the step whose gradient steps were taken, from 1."""
        ...
