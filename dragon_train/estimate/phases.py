"""Count one step of a run, phase by phase: the trainer's own code runs on a pipeline without values.

What such a hollow pipeline is, `dragon_train.estimate.hollow` says.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards import compose, load_registry
from dragon_rewards.compute.devices import CPU
from dragon_rewards.media.encodable import CPU_BATCH
from dragon_rewards.mixture import compose_mixture
from dragon_rewards.protocols import AudioEncoder, ImageEncoder
from dragon_train.estimate.autocast import AsOnCuda
from dragon_train.estimate.counting import Count, Counting
from dragon_train.estimate.hollow import hollow_mode, hollow_policy, weight_bytes
from dragon_train.estimate.learning import PROMPT, Draft, Learning, count_learning
from dragon_train.loop.loop import resolved
from dragon_train.loop.processes import Processes
from dragon_train.loop.rollout import latent_encoder
from dragon_train.pipelines.lengths import set_length
from dragon_train.pipelines.loading import check_checkpointing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch import Tensor, nn

    from dragon_rewards.media.media import Media
    from dragon_rewards.protocols import Encoder, EncoderInfo
    from dragon_rewards.rewards import Reward
    from dragon_train.config import TrainConfig
    from dragon_train.descriptors import PipelineInfo
    from dragon_train.protocols import Policy


@dataclass(frozen=True)
class StepCount:
    """The counts of one step of a run.

    Attributes:
        weights: the bytes of each network of the pipeline, and of each encoder.
        sampling: the count of sampling one batch of clips.
        decoding: the count of decoding one batch.
        encoding: the count of encoding one batch by every encoder, one after the other.
        learning: the count of learning in the step.
        clips: the number of clips that a step samples, in all its sets.
        batch: the number of clips sampled or decoded at once.
        audio: the bytes of one decoded clip.
        uncounted: what could not be counted, and why.
    """

    weights: Mapping[str, int]
    sampling: Count
    decoding: Count
    encoding: Count
    learning: Learning
    clips: int
    batch: int
    audio: int
    uncounted: Mapping[str, str]

    @property
    def phases(self) -> dict[str, Count]:
        """The count of each phase in a whole step."""
        batches = self.clips / self.batch
        made = {"sampling": self.sampling, "decoding": self.decoding, "encoding": self.encoding}
        return {name: count.times(batches) for name, count in made.items()} | {"learning": self.learning.step}


def count_step(info: PipelineInfo, config: TrainConfig, *, cuda: bool, prompt: str = PROMPT) -> StepCount:
    """Count a step of the run that is configured.

    Args:
        info: the pipeline; its settings are read, and no weights.
        config: the run.
        cuda: whether autocast is as on a CUDA device, or as on the CPU.
        prompt: a prompt of the run; its columns say how long clips are.

    Raises:
        DragonError: the pipeline's settings, or an encoder's, cannot be read.
    """
    mode = hollow_mode()
    policy = hollow_policy(info, config, mode)
    set_length(policy, [prompt])
    config = resolved(config, policy)
    check_checkpointing(policy, config)
    policy.batch = config.sampling_batch
    parts: dict[str, nn.Module] = {
        name: part for name, part in policy.pipeline.components.items() if isinstance(part, torch.nn.Module)
    }
    weights = {name: weight_bytes(part) for name, part in parts.items()}
    precision = "bf16" if config.precision == "fp16" else config.precision  # as large; a CPU has no fp16
    recomputes = cuda or config.gradient_checkpointing  # a card's attention is fused in any case
    processes = Processes(precision, device=CPU, recomputes=recomputes)
    batch = min(policy.batch, config.prompts_per_step)
    with AsOnCuda() if cuda else nullcontext():
        latents, sampling = count_sampling(policy, config, processes, batch)
        clips, decoding = count_decoding(policy, latents)
        reading, heard = heard_in_a_step(config, policy)
        encoding, held, uncounted = count_encoders(config, clips, heard)
        if not heard:
            decoding = at_comparisons(decoding, config)
        draft = Draft(policy, config, processes, latents, () if heard else reading)
        learning = count_learning(draft, cuda=cuda)
    return StepCount(
        weights=weights | held,
        sampling=sampling,
        decoding=decoding,
        encoding=encoding,
        learning=learning,
        clips=draft.sampled_clips + bool(config.at_least) * config.prompts_per_step,  # those for constraints' levels
        batch=batch,
        audio=clips.media[0].nbytes if decoding.peak else 0,
        uncounted=uncounted,
    )


def count_sampling(policy: Policy, config: TrainConfig, processes: Processes, batch: int) -> tuple[Tensor, Count]:
    """Count the sampling of one batch, and return its latents, too.

    Two diffusion steps and three are run, and the others are like the third.
    """
    counts = []
    for steps in (2, 3):
        with torch.no_grad(), processes.autocast(), Counting() as counting:
            latents = policy.sample([PROMPT] * batch, range(batch), steps, config.guidance)
        counts.append(counting.count)
    each = counts[1].without(counts[0])
    total = counts[0].costs + each.times(config.demonstration_steps - 2).costs
    return latents, Count(total, counts[1].peak, 0)


def count_decoding(policy: Policy, latents: Tensor) -> tuple[Media, Count]:
    """Count the decoding of one batch, and return its clips, too."""
    with torch.no_grad(), Counting() as counting:
        clips = policy.clips(latents, [PROMPT] * len(latents))
    return clips, counting.count


def heard_in_a_step(config: TrainConfig, policy: Policy) -> tuple[list[Reward], set[str]]:
    """Return the rewards that read latents in a step, and the names of the encoders that hear its clips.

    A network without values is another if it has its class and its shapes. An encoder that cannot be built hears.
    """
    reading: list[Reward] = []
    judging = [*compose_mixture(config.reward).parts, *map(compose, config.at_least)]
    for part in judging:
        with suppress(Exception), Counting():  # a plugin's code, which `count_encoders` tells of
            reading += [part] if latent_encoder(part, policy, CPU) else []
    return reading, {part.encoder.name for part in judging if part not in reading}


def at_comparisons(count: Count, config: TrainConfig) -> Count:
    """Return the count of what is not in a step: the memory of comparisons on held-out prompts, if there are any."""
    return Count(peak=count.peak, kept=count.kept) if config.heldout_prompts else Count()


def count_encoders(
    config: TrainConfig, clips: Media, heard: Collection[str]
) -> tuple[Count, dict[str, int], dict[str, str]]:
    """Count what all rewards of a run hear with: the arithmetic, the weights, and what cannot be counted.

    An encoder's architecture is written nowhere but in its plugin, which builds it. Those not in `heard`, as they read
    latents or judge comparisons alone, are not counted in a step.

    Returns:
        The count of one batch, the bytes of each encoder by name, and the reason for each that is not counted.
    """
    rewards = [compose_mixture(config.reward), *map(compose, (*config.heldout, *config.at_least))]
    encoders = {part.encoder.name: part.encoder for reward in rewards for part in reward.parts}
    total, held, uncounted = Count(), dict[str, int](), dict[str, str]()
    for name, info in encoders.items():
        try:
            encoder = load_registry().build_encoder(name)
            count = count_encoder(encoder, info, clips)
            total = total.then(count if name in heard else at_comparisons(count, config))
            held[f"encoder {name}"] = sum(map(weight_bytes, networks_of(encoder)))
        except Exception as error:  # noqa: BLE001  a plugin's code, on tensors without values: a count stops no run
            uncounted[f"encoder {name}"] = next(iter(str(error).splitlines()), type(error).__name__)
    return total, held, uncounted


def count_encoder(encoder: Encoder, info: EncoderInfo, clips: Media) -> Count:
    """Count the encoding of one batch of clips, in mono at the encoder's rate, or of images."""
    media = torch.stack(list(clips.media))
    with torch.no_grad(), Counting() as counting:
        for part in media.split(CPU_BATCH):  # on an accelerator as there is room for
            if isinstance(encoder, AudioEncoder):
                samples = part.shape[-1] * info.sample_rate // clips.sample_rate
                encoder.encode_audio(part.new_empty(len(part), samples))
            elif isinstance(encoder, ImageEncoder):
                encoder.encode_image(part)
    return counting.count


def networks_of(encoder: Any) -> list[nn.Module]:
    """Return the encoder itself if it is a network, or else the networks that it holds."""
    held = [encoder, *vars(encoder).values()]
    return [part for part in held if isinstance(part, torch.nn.Module)][: 1 if held[0] is encoder else None]
