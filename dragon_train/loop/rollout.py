"""Make on-policy generations: what an objective asks for in a step, and the clips of comparisons and samples.

`loop.loop` makes a `StepRollout` for each step and gives it to the objective's `collect`, which calls `generate` once
for each set of clips that it wants. Clips are sampled by the policy, then decoded and embedded by the encoders of the
reward, batch by batch; an encoder that is the pipeline's own autoencoder reads latents instead. What an objective does
with them is in `objectives`.
"""

from __future__ import annotations

import random
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from dragon_rewards.compute.devices import wait_for
from dragon_rewards.media.media import EmbeddingStore, Encoded, Media, check_output, explained
from dragon_rewards.protocols import LatentEncoder
from dragon_train.protocols import Generations, LatentPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from dragon_rewards.rewards import AnyReward, Reward
    from dragon_train.config import TrainConfig
    from dragon_train.loop.processes import Processes
    from dragon_train.protocols import Learner, Policy, Sampler

T = TypeVar("T")

PHASES = ("sampling", "decoding", "encoding", "selecting", "learning", "comparing")


class StepRollout:
    """One step: its prompts, its random numbers, and the policy's generations for it.

    Attributes:
        context: what all steps of the run share.
        reward: the reward that is maximised.
        policy: the pipeline that is tuned, which generates.
        config: the configuration of the run.
        step: the number of the step, from 0.
        prompts: the prompts of the step.
        pool: the clips of earlier steps, with the embeddings that the reward asks for.
        generator: the source of random choices, in the same state in every process.
        clock: counts the time of the phases.
        made: the sets of clips that were generated in this step so far.
        learner: the policy beside its reference.
    """

    def __init__(
        self,
        context: Context,
        reward: AnyReward,
        step: int,
        pool: Sequence[Media],
        learner: Learner,
    ) -> None:
        config = context.config
        self.context, self.reward, self.config, self.step, self.pool = context, reward, config, step, pool
        self.policy = context.policy
        self.prompts, self.clock = prompts_of(context.prompts, config, step), context.clock
        self.generator = torch.Generator().manual_seed(*seeds(Stream.NOISE, config.seed, step))
        self.made: list[Generations] = []
        self.learner = learner

    def generate(self, rows: Sequence[int] | None = None, sampler: Sampler | None = None) -> Generations:
        """Generate one more clip for each prompt, or for those that `rows` names, with new seeds.

        Each process makes its share, and all get all. A given sampler takes the place of the pipeline's own.
        """
        self.made.append(self.generated(len(self.made), rows, sampler))
        return self.made[-1]

    def generated(
        self,
        place: int,
        rows: Sequence[int] | None = None,
        sampler: Sampler | None = None,
        stream: Stream | None = None,
    ) -> Generations:
        """Return a clip for each prompt from the seeds of the step's set of this place, made by what the policy is now.

        It is not in `made`: the untuned model's clips, say, are compared with the set of the place and not learnt from.
        """
        processes, batch = self.context.processes, self.policy.batch
        prompts = self.prompts if rows is None else [self.prompts[row] for row in rows]
        numbers = seeds(stream or Stream.GENERATIONS, self.config.seed, self.step, place, count=len(prompts))
        texts, own = processes.share(prompts), processes.share(numbers)
        latents, paths, clips = [], [], []
        for start in range(0, len(texts), batch):
            part = slice(start, start + batch)
            made, path = self.sampled(texts[part], own[part], sampler)
            latents.append(made)
            paths += [] if path is None else [path]
            clips.append(self.embedded(made, texts[part]))
        path = torch.cat(paths) if paths else None
        return gathered(Generations(torch.cat(latents), Media.concatenate(clips), own, path), processes)

    def previous(self) -> AbstractContextManager[None]:
        """Let the previous policy generate inside the block."""
        return self.learner.previous()

    def untuned(self, place: int) -> Generations:
        """Return a clip for each prompt by the untuned model, from seeds that no other clips have; not in `made`."""
        with torch.no_grad(), self.learner.reference():
            return self.generated(place, stream=Stream.UNTUNED)

    def gradient_norms(self, latents: Tensor, prompts: Sequence[str]) -> Tensor:
        """Return the norm of each clip's gradient, (clips,), all noised alike; each process measures its share."""
        processes, draw = self.context.processes, self.policy.draw(latents[:1], self.generator)
        with self.clock.phase("learning"):
            own = processes.share(range(len(prompts)))
            norms = [self.learner.gradient_norm(latents[i : i + 1], prompts[i : i + 1], draw) for i in own]
        return torch.tensor([norm for share in processes.gather(norms) for norm in share], dtype=torch.float64)

    def sampled(
        self, prompts: Sequence[str], seeds: Sequence[int], sampler: Sampler | None
    ) -> tuple[Tensor, Tensor | None]:
        """Sample the latents of one batch of clips, (clips, ...), with the points that a given sampler records."""
        policy, config = self.policy, self.config
        with self.clock.phase("sampling"), self.context.processes.autocast():
            if sampler:
                return sampler(policy, prompts, seeds)
            return policy.sample(prompts, seeds, config.demonstration_steps, config.guidance), None

    def embedded(self, latents: Tensor, prompts: Sequence[str]) -> Media:
        """Decode a batch of clips, if the reward hears them, and compute the embeddings that it asks for.

        The media, which nothing asks for any more, are let go.
        """
        with self.clock.phase("decoding"):
            clips = clips_for(self.reward.parts, self.policy, latents, prompts)
        with self.clock.phase("encoding"):
            for part in self.reward.parts:
                part.embeddings(clips)
        return clips.without_media()


def clips_for(rewards: Sequence[Reward], policy: Policy, latents: Tensor, prompts: Sequence[str]) -> Media:
    """Return clips that rewards can judge, decoded unless every encoder reads latents; gradient flows to the latents.

    This is for clips that training learns from. What people would hear, such as held-out clips, is decoded in any case.

    Args:
        rewards: what judges the clips; without any they are decoded.
        policy: the pipeline that sampled the latents.
        latents: one clip per prompt, (clips, ...).
        prompts: one text per clip.

    Raises:
        EncoderError: an encoder failed to read the latents, or broke its contract.
    """
    frames = {reward.encoder.name: frames_of(reward, policy, latents) for reward in rewards}
    known = {name: found for name, found in frames.items() if found is not None}
    if frames and len(known) == len(frames):
        return Encoded(EmbeddingStore(known, {}), [f"clip {index}" for index in range(len(prompts))], prompts)
    clips = policy.clips(latents, prompts)
    clips.known.frames.update(known)
    return clips


def frames_of(reward: Reward, policy: Policy, latents: Tensor) -> tuple[Tensor, ...] | None:
    """Return the frames (frames, dim) of each clip that the reward's encoder reads from latents; None if it does not.

    They are laid out in memory as frames of encoded clips are, so that sums over them round alike.
    """
    encoder, info = latent_encoder(reward, policy, latents.device), reward.encoder
    if encoder is None:
        return None
    with explained(info.name, "latents", latents.device):
        frames = encoder.latent_frames(latents)
        shape = (len(latents), *frames.shape[1:2], info.dim)
    check_output(frames, shape, info.name, "latents")
    return tuple(frames.clone(memory_format=torch.contiguous_format))


def latent_encoder(reward: Reward, policy: Policy, device: torch.device) -> LatentEncoder | None:
    """Return the reward's encoder if it reads the policy's latents; None if it has to hear the decoded clips."""
    encoder = reward.registry.build_encoder(reward.encoder.name, device)
    if not isinstance(encoder, LatentEncoder) or not encoder.keeps_latents:
        return None
    return encoder if isinstance(policy, LatentPolicy) and policy.decodes_by(encoder.autoencoder) else None


def prompts_of(prompts: Sequence[str], config: TrainConfig, step: int) -> list[str]:
    """Return the prompts of a step: the next ones of the list, round and round from a place that the seed chooses.

    They come in their order: a list that is balanced in every stretch gives balanced steps.
    """
    start = random.Random(config.seed).randrange(len(prompts)) + step * config.prompts_per_step
    return [prompts[(start + i) % len(prompts)] for i in range(config.prompts_per_step)]


@dataclass
class Context:
    """The policy, the prompts and the helpers that every step of a run works with.

    Attributes:
        config: the configuration of the run, with what the pipeline suggests where it says nothing.
        policy: the pipeline that is tuned.
        prompts: the prompts that it is tuned on.
        processes: the processes that train together.
        clock: counts the time of the phases of a step.
    """

    config: TrainConfig
    policy: Policy
    prompts: Sequence[str]
    processes: Processes
    clock: Clock


class Clock:
    """A timer that adds up seconds by phase; it waits for an accelerator, so that a phase pays for its own work.

    Attributes:
        device: the device that is waited for.
        seconds: the seconds of each phase since the last row.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time inside the block as this phase."""
        started = self.now()
        try:
            yield
        finally:
            self.seconds[name] += self.now() - started

    def now(self) -> float:
        """Return the time in seconds, after all work that the device was given."""
        wait_for(self.device)
        return monotonic()

    def row(self) -> dict[str, float]:
        """Return the seconds of every phase since the last row, and start again from 0."""
        row = {f"{phase}_s": self.seconds[phase] for phase in PHASES}
        self.seconds.clear()
        return row


class Stream(IntEnum):
    """A purpose of seeds; seeds of different purposes are unrelated."""

    GENERATIONS = 0
    NOISE = 1
    HELDOUT = 2
    UNTUNED = 3
    DIAGNOSTICS = 4
    CLIPS = 5


def seeds(stream: Stream, seed: int, step: int = 0, side: int = 0, *, count: int = 1) -> list[int]:
    """Return `count` seeds of 32 bits, which are a function of the arguments.

    They are hashed, not offset: torch's CPU generator reads the low 32 bits of a seed alone, so that 2**40 would start
    the same sequence as 0.

    Args:
        stream: what the seeds are for.
        seed: the seed of the run.
        step: the number of the step.
        side: the number of the set of clips in a step.
        count: how many seeds.

    >>> seeds(Stream.HELDOUT, 0, count=2) != seeds(Stream.GENERATIONS, 0, count=2)
    True
    """
    words = np.random.SeedSequence((int(stream), seed, step, side)).generate_state(count)
    return [int(word) for word in words]


def suggested(policy: Policy, steps: int, guidance: float) -> tuple[int, float]:
    """Return diffusion steps and guidance, where 0 stands for what the pipeline suggests."""
    return steps or policy.steps, guidance or policy.guidance


def generate(policy: Policy, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float) -> Generations:
    """Sample and decode one clip per prompt.

    Args:
        policy: the pipeline that samples.
        prompts: one text per clip.
        seeds: one number per clip.
        steps: the number of diffusion steps.
        guidance: the strength of classifier-free guidance; 1 is none.
    """
    latents = policy.sample(prompts, seeds, steps, guidance)
    return Generations(latents, policy.clips(latents, prompts), seeds)


def embedded(policy: Policy, latents: Tensor, prompts: Sequence[str], rewards: Sequence[Reward]) -> Media:
    """Decode latents and compute the embeddings that rewards ask for; no more media than a batch are held at once.

    Args:
        policy: the pipeline that decodes.
        latents: one clip per prompt, (clips, ...).
        prompts: one text per clip.
        rewards: the rewards whose encoders embed the clips.

    Returns:
        The clips without their media, with the embeddings.
    """
    parts: list[Media] = []
    for start in range(0, len(prompts), policy.batch):
        batch = slice(start, start + policy.batch)
        clips = policy.clips(latents[batch], prompts[batch])
        for reward in rewards:
            reward.embeddings(clips)
        parts.append(clips.without_media())
    return Media.concatenate(parts)


def gathered(own: Generations, processes: Processes) -> Generations:
    """Join the shares of all processes into one set, without its media: embeddings are what rewards judge."""
    if processes.size == 1:
        return replace(own, clips=own.clips.without_media())
    known = own.clips.without_media().known
    frames = {encoder: [clip.cpu() for clip in clips] for encoder, clips in known.frames.items()}
    prompts = {encoder: embedded.cpu() for encoder, embedded in known.prompts.items()}
    path = None if own.path is None else own.path.cpu()
    shares = processes.gather((own.latents.cpu(), frames, prompts, list(own.prompts), list(own.seeds), path))
    paths = [share[5] for share in shares if share[5] is not None]
    return Generations(
        torch.cat([share[0] for share in shares]).to(own.latents),
        Media.concatenate([rebuilt(*share[1:4], own.latents.device) for share in shares]),
        [seed for share in shares for seed in share[4]],
        torch.cat(paths).to(own.latents.device) if paths else None,
    )


def rebuilt(
    frames: Mapping[str, Sequence[Tensor]], embedded: Mapping[str, Tensor], prompts: Sequence[str], device: torch.device
) -> Encoded:
    """Make clips of their embeddings and their prompts, without media.

    Args:
        frames: by the name of the encoder, for each clip its frames, (frames, dim).
        embedded: by the name of the encoder, the embeddings of the prompts, (clips, dim).
        prompts: one text per clip.
        device: where the embeddings are put.
    """
    known = EmbeddingStore(
        {encoder: tuple(clip.to(device) for clip in clips) for encoder, clips in frames.items()},
        {encoder: rows.to(device) for encoder, rows in embedded.items()},
    )
    return Encoded(known, [f"clip {index}" for index in range(len(prompts))], prompts)
