"""Rewards as the callables that other trainers expect: TRL, flow_grpo, Flow-Factory.

Each of them gives one number for each clip, of which higher is better. For a reward r of whole sets S that number is
what clip x adds to the set in which it was generated (see `ranking.credits_of`):

    r(S) - r(S without x)

Rewards are computed on the CPU, without gradient. A clip that no reward can judge (silent, not finite) is refused,
which stops the training.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.compute.devices import CPU
from dragon_rewards.errors import AudioError, DragonError
from dragon_rewards.media.clips import Clips
from dragon_rewards.names import RewardName
from dragon_rewards.ranking import credits_of
from dragon_rewards.rewards import compose
from dragon_rewards.scoring import build_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from dragon_rewards.rewards import Reward


class TrlReward:
    """A reward function for TRL's trainers of language models, such as GRPOTrainer (written against TRL 1.16).

    Language models generate tokens, and `decode` turns these into audio; for a model of codec tokens it is the codec's
    decoder. For a reward of whole sets the set is the completions of one call, which are the completions of one process
    in one step. TRL no longer has a trainer of diffusion models; `FlowGrpoReward` has the form that its DDPOTrainer
    took until 2025.
    """

    def __init__(
        self, name: str, decode: Callable[[Sequence[Sequence[int]]], Sequence[Tensor]], sample_rate: int
    ) -> None:
        """Compose the reward.

        Args:
            name: the name of the reward.
            decode: turns the token ids of the completions into the audio of each, (samples,) or (channels, samples).
            sample_rate: the rate of that audio, in Hz.

        Raises:
            DragonError: the reward does not compose, or a part of it cannot be built.
        """
        self.reward, self.decode, self.sample_rate = _built(name), decode, sample_rate
        self.__name__ = RewardName.parse(name).slug  # the name under which TRL logs the reward

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],  # noqa: ARG002  the completion ids decoded
        completion_ids: Sequence[Sequence[int]],
        **columns: Any,  # noqa: ARG002  the dataset's, and the trainer's state
    ) -> list[float]:
        """Return a number for each completion; a prompt is a text, or a conversation whose last message is the text."""
        audio = self.decode(completion_ids)
        return _credits(self.reward, audio, self.sample_rate, [_text(prompt) for prompt in prompts])


class FlowGrpoReward:
    """A reward function for flow_grpo, and for trainers of its form: ddpo-pytorch, TRL's DDPOTrainer until 2025.

    These trainers pass decoded media without a sample rate, so the rate is given here. Their own pipelines make images
    and video; a training script around a pipeline of audio passes its waveforms as `images`. For a reward of whole sets
    the set is the batch of one call.
    """

    def __init__(self, name: str, sample_rate: int) -> None:
        """Compose the reward of this name for audio at `sample_rate` Hz; raises as `TrlReward`."""
        self.reward, self.sample_rate = _built(name), sample_rate

    def __call__(
        self,
        images: Any,
        prompts: Sequence[str],
        metadata: Any,  # noqa: ARG002  part of the form
    ) -> tuple[list[float], dict[str, Any]]:
        """Return one number for each clip, and no metadata.

        Args:
            images: audio (clips, samples) or (clips, channels, samples), as a tensor or an array.
            prompts: one prompt for each clip.
            metadata: ignored; trainers of this form pass it.
        """
        return _credits(self.reward, images, self.sample_rate, prompts), {}


def flow_factory_reward(name: str) -> type[Any]:
    """Return a reward model class for Flow-Factory: pointwise for rewards of clips, groupwise for rewards of sets.

    The class reads the audio of samples and its rate, which Flow-Factory's pipelines of audio and video provide. For a
    reward of whole sets the set is a group: the clips of one prompt. (Written against the sources of May 2026.)

    Raises:
        DragonError: Flow-Factory is not installed, the reward does not compose, or a part of it cannot be built.
    """
    reward = _built(name)
    try:
        rewards = import_module("flow_factory.rewards")
    except ModuleNotFoundError as error:
        raise DragonError(f"there is no module '{error.name}': import this where Flow-Factory is installed") from error
    base = rewards.PointwiseRewardModel if reward.kind.per_clip else rewards.GroupwiseRewardModel
    body = {
        "required_fields": ("prompt", "audio", "audio_sample_rate"),
        "use_tensor_inputs": True,
        "__call__": _flow_factory_call(reward, rewards.RewardModelOutput),
    }
    return type("Reward", (base,), body)


def _flow_factory_call(reward: Reward, output: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method that a trainer calls; the trainer passes the fields of the samples that the signature names."""

    def call(
        self: Any,  # noqa: ARG001
        prompt: Sequence[str],
        audio: Tensor | Sequence[Tensor] | None = None,  # a single tensor if all are equally long
        audio_sample_rate: Sequence[int] | None = None,
    ) -> Any:
        if audio is None or audio_sample_rate is None:
            raise AudioError(f"'{reward.name}' judges audio, and the samples have none; train a pipeline of audio")
        return output(rewards=torch.tensor(_credits(reward, audio, int(audio_sample_rate[0]), prompt)))

    return call


def _built(name: str) -> Reward:
    """Compose the reward and build its parts, so that what is missing is reported before the training starts."""
    reward = compose(name)
    build_parts(reward, CPU)  # the device on which `_credits` judges
    return reward


def _credits(reward: Reward, audio: Any, sample_rate: int, prompts: Sequence[str]) -> list[float]:
    """Return one number for each clip; clips may be tensors on any device, or arrays."""
    clips = Clips([torch.as_tensor(clip).detach().cpu() for clip in audio], sample_rate, list(prompts))
    values: list[float] = credits_of(reward, clips).tolist()
    return values


def _text(prompt: Any) -> str:
    """Return the text of a prompt, which may be a conversation, whose messages may be lists of parts."""
    content = prompt if isinstance(prompt, str) else prompt[-1]["content"]
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part["type"] == "text")
