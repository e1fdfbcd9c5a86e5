"""Count learning: the objective collects empty clips, which nothing samples, and the learner learns from them.

`Draft` and `Judge` stand in for `loop.rollout.StepRollout` and the reward; the objective and the learner are the
trainer's own.
"""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.media.media import EmbeddingStore, Encoded, Media
from dragon_rewards.protocols import RewardKind
from dragon_train.estimate.autocast import checkpointed
from dragon_train.estimate.counting import Cost, Count, Counting
from dragon_train.loop.learner import PolicyLearner, minibatches
from dragon_train.loop.rollout import Clock, Context, StepRollout
from dragon_train.objectives.configured import make_objective
from dragon_train.protocols import Generations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from dragon_rewards.rewards import Reward
    from dragon_train.config import TrainConfig
    from dragon_train.loop.processes import Processes
    from dragon_train.protocols import Experience, Policy, Sampler

PROMPT = "a slow waltz for two guitars and a double bass"  # of the length of most


@dataclass(frozen=True)
class Learning:
    """The memory and the arithmetic of learning in one step.

    Attributes:
        held: the bytes that stay from step to step, by name: adapters, gradients, moments, averages, a frozen copy.
        once: the count of an update on one microbatch, with the optimiser's step.
        again: the count of each further microbatch of the same update.
        norms: the count of measuring the gradient norms of single clips, where the objective asks for them.
        updates: the number of updates in one step.
        microbatches: the number of microbatches in one step, in all updates.
    """

    held: Mapping[str, int]
    once: Count
    again: Count
    norms: Count
    updates: int
    microbatches: float

    @property
    def step(self) -> Count:
        """The count of all updates of a step, one after the other, and of what was measured before."""
        costs, parts = Counter[Cost](), (self.once, self.again, self.norms)
        for part, times in zip(parts, (self.updates, self.microbatches - self.updates, 1), strict=True):
            costs.update(part.times(times).costs)
        return Count(costs, max(part.peak for part in parts), 0)


class Judge:
    """A stand-in for any reward: it likes one clip more than another, by chance, and knows nothing of their sound.

    Attributes:
        parts: stand-ins for the rewards whose encoders read latents, where nothing else judges; without any, clips are
            decoded.
    """

    kind = RewardKind.INSTANCE

    def __init__(self, reading: Sequence[Reward] = ()) -> None:
        self.parts = tuple(map(Reader, reading))

    @property
    def weights(self) -> tuple[float, ...]:
        """The factors of the parts, which are all 1."""
        return (1.0,) * len(self.parts)

    @staticmethod
    def value(clips: Media) -> Tensor:
        """Return a value for each clip, (clips,); with gradient for clips that are there, decoded or as latents."""
        there = [*clips.media, *(frame for frames in clips.known.frames.values() for frame in frames)]
        if there:
            return torch.stack([clip.square().mean() for clip in there[: len(clips)]])
        return torch.rand(len(clips), generator=torch.Generator().manual_seed(0))


class Reader(Judge):
    """A stand-in for a reward whose encoder reads latents; the encoder is the reward's."""

    def __init__(self, reward: Reward) -> None:
        super().__init__()
        self.encoder, self.registry = reward.encoder, reward.registry


class Draft(StepRollout):
    """A rollout whose clips are empty; it counts the clips that an objective asks for, and has no learner yet.

    `reading` are the rewards that judge, if the encoders of all of them read latents, and nothing is decoded.

    Attributes:
        shape: the shape of the latents of one clip.
        sampled_clips: the number of clips that the objective asked for.
        measured_clips: the number of clips whose gradient norms it asked for.
        experience: what the objective collected from the empty clips.
    """

    def __init__(
        self,
        policy: Policy,
        config: TrainConfig,
        processes: Processes,
        latents: Tensor,
        reading: Sequence[Reward] = (),
    ) -> None:
        judge: Any = Judge(reading)
        nobody: Any = None
        context = Context(config, policy, [PROMPT], processes, Clock(processes.device))
        super().__init__(context, judge, 0, [], nobody)
        self.shape, self.sampled_clips, self.measured_clips = latents.shape[1:], 0, 0
        self.experience: Experience = make_objective(config).collect(self)

    def generated(
        self,
        place: int,  # noqa: ARG002  clips without seeds
        rows: Sequence[int] | None = None,
        sampler: Sampler | None = None,
        stream: Any = None,  # noqa: ARG002
    ) -> Generations:
        """Return a set of clips of zero latents and no embeddings, under the prompts of the step."""
        prompts = self.prompts if rows is None else [self.prompts[row] for row in rows]
        self.sampled_clips += len(prompts)
        clips = Encoded(EmbeddingStore({}, {}), [f"clip {index}" for index in range(len(prompts))], prompts)
        path = torch.zeros(len(prompts), sampler.points, *self.shape) if sampler else None
        return Generations(torch.zeros(len(prompts), *self.shape), clips, range(len(prompts)), path)

    def untuned(self, place: int) -> Generations:
        """Return a set of empty clips, as `generated` does."""
        return self.generated(place)

    def previous(self) -> AbstractContextManager[None]:
        """Change nothing inside the block, as nobody learns yet."""
        return nullcontext()

    def gradient_norms(self, latents: Tensor, prompts: Sequence[str]) -> Tensor:  # noqa: ARG002  all alike
        """Return the same norm for each clip, (clips,)."""
        self.measured_clips += len(prompts)
        return torch.ones(len(prompts), dtype=torch.float64)


def count_learning(draft: Draft, *, cuda: bool) -> Learning:
    """Count updates on one microbatch and on two: the difference is what a further one takes.

    `cuda` says whether autocast is as on a CUDA device.
    """
    config, experience, generator = draft.config, draft.experience, torch.Generator().manual_seed(0)
    batches = [len(rows) for rows in minibatches(len(experience), config, generator)]
    largest = config.microbatch or max(batches)
    rows = min(largest, max(batches))
    if config.gradient_checkpointing:
        denoiser: Any = draft.context.policy.denoiser
        denoiser.enable_gradient_checkpointing(checkpointed if cuda else None)
    learner = PolicyLearner(draft.context.policy, replace(config, microbatch=rows), draft.context.processes)
    update(learner, experience, rows)  # makes what the optimiser holds
    once = update(learner, experience, rows)
    again = update(learner, experience, 2 * rows).without(once) if max(batches) > rows else Count()
    micro, norms = sum(batches) / rows, norm(learner, draft).times(draft.measured_clips)
    return Learning(held(learner), once, again, norms, len(batches), max(micro, len(batches)))


def norm(learner: PolicyLearner, draft: Draft) -> Count:
    """Count the gradient norm of one clip; nothing where the objective asks for none."""
    if not draft.measured_clips:
        return Count()
    latents = torch.zeros(1, *draft.shape)
    drawn = learner.policy.draw(latents, torch.Generator().manual_seed(0))
    with Counting() as counting:
        learner.gradient_norm(latents, [PROMPT], drawn)
    return counting.count


def update(learner: PolicyLearner, experience: Experience, rows: int) -> Count:
    """Count one gradient step on `rows` units of the experience, which are repeated where it has fewer."""
    chosen = experience.select(torch.arange(rows) % len(experience))
    drawn = chosen.draw(learner.policy, torch.Generator().manual_seed(0))
    objective = make_objective(learner.config)
    with Counting() as counting:
        learner.update(objective, drawn)
    learner.notes.clear()
    return counting.count


def held(learner: PolicyLearner) -> dict[str, int]:
    """Return the bytes that an optimiser's step leaves behind, by name."""
    own = sum(parameter.nbytes for parameter in learner.tuning.parameters)
    found = {"gradients": own, "moments": 2 * own}
    if learner.config.tuning == "lora":
        found["adapters"] = own
    else:
        found["frozen copy"] = sum(p.nbytes for p in learner.policy.denoiser.parameters())
    if learner.average:
        found["average"] = own
    if learner.snapshot:
        found["previous policy"] = own
    return found
