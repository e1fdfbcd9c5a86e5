"""Share among adapters how a diffusers pipeline samples as it is, and shows how it feeds its denoiser.

`RecordedPolicy` is the `Policy` of the trainer over any diffusers pipeline; an adapter says what its pipeline has of
its own.
"""

from __future__ import annotations

import math
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from inspect import signature, unwrap
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from diffusers.models.modeling_utils import get_parameter_dtype

from dragon_rewards.compute.devices import is_out_of_memory
from dragon_rewards.errors import DragonError
from dragon_rewards.guard import guarded, reason_of
from dragon_rewards.media.audio import write_audio
from dragon_rewards.media.clips import Clips
from dragon_train.pipelines.lengths import check_seconds
from dragon_train.prompt_table import LENGTH, columns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from torch import Tensor, nn

    from dragon_train.pipelines.noise import DenoisingTarget, Noise
    from dragon_train.protocols import Draw


class Recorded(Exception):  # noqa: N818  not an error: it ends a call that has told enough
    """The signal that ends a pipeline's call, because it has shown what was asked for."""


class RecordedPolicy:
    """The trainer's view of a diffusers pipeline, whose call is run as it is.

    The condition of a prompt is not computed anew here: the pipeline is started, and what it gives its denoiser beside
    the noisy latents and the time is recorded.

    Attributes:
        component: the pipeline's name for its denoiser.
        inputs: the denoiser's names for the noisy latents and for the time; where it takes the time twice, both.
        lora_targets: the attention's projections, which diffusers names alike in every model.
        checkpointing: whether gradient checkpointing works where diffusers offers it.
        together: whether the pipeline is given several prompts at once.
        columns: what the pipeline takes beside the prompt: its names for the columns of a table of prompts, by column.
        post_trained: whether this checkpoint was distilled to few steps, which training it undoes.
        pipeline: the diffusers pipeline.
        noise: the process that it was trained on.
        batch: the most clips that are sampled or decoded at once.
        steps: the diffusion steps of on-policy generations, where a run does not set them: fewer than for listening,
            since demonstrations cost the most and need no polish (DRAGON, figure 3).
        guidance: the classifier-free guidance of on-policy generations, where a run does not set it, as the pipeline's
            documentation has it; 1 is none.
        arguments: the further arguments of the pipeline's call, beside prompts, seeds, steps and guidance.
    """

    component: ClassVar[str] = "transformer"
    inputs: ClassVar[tuple[str, ...]] = ("hidden_states", "timestep")
    lora_targets: Sequence[str] = ("to_q", "to_k", "to_v", "to_out.0")
    checkpointing: ClassVar[bool] = True
    together: ClassVar[bool] = True
    columns: ClassVar[Mapping[str, str]] = {}
    post_trained: bool = False
    batch: int = 4  # of clips of a minute, decoding which takes gigabytes
    steps: int = 25
    guidance: float = 1.0

    def __init__(self, pipeline: Any, noise: Noise, **arguments: Any) -> None:
        self.pipeline, self.noise, self.arguments = pipeline, noise, arguments
        pipeline.set_progress_bar_config(disable=True)
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module) and part is not self.denoiser:
                part.requires_grad_(False)

    @property
    def denoiser(self) -> nn.Module:
        """The network of the pipeline that is tuned."""
        network: nn.Module = getattr(self.pipeline, self.component)
        return network

    @denoiser.setter
    def denoiser(self, network: nn.Module) -> None:
        setattr(self.pipeline, self.component, network)

    def sample(
        self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float, gradient_steps: int = 0
    ) -> Tensor:
        """Sample the latents of one clip per prompt, `batch` at a time; float32, whatever the pipeline computes in.

        Args:
            prompts: one text per clip.
            seeds: one number per clip, from which its initial noise is drawn.
            steps: the number of diffusion steps.
            guidance: the strength of classifier-free guidance; 1 is none.
            gradient_steps: the number of the last diffusion steps through whose denoiser calls gradient flows; 0 is
                none.

        Raises:
            DragonError: the pipeline failed, as when the configuration of a part does not fit.
        """
        parts = self.parts(prompts)
        call: Callable[..., Any] = self.pipeline
        gradient: AbstractContextManager[None] = nullcontext()
        if gradient_steps:
            call = partial(unwrap(type(self.pipeline).__call__), self.pipeline)  # without its `no_grad`
            gradient = self._gradient_in_last(gradient_steps, self.calls_per_step(guidance))
        with gradient, guarded(self._failed, is_out_of_memory):
            made = [self.latents(call, prompts[part], seeds[part], steps, guidance) for part in parts]
            return torch.cat(made).float()

    def parts(self, prompts: Sequence[str]) -> list[slice]:
        """Return which prompts the pipeline is given together: at most `batch` in a row, whose columns are the same."""
        size = self.batch if self.together else 1
        runs = [list(rows) for _, rows in groupby(range(len(prompts)), lambda row: columns_of(prompts[row]))]
        return [slice(start, min(start + size, rows[-1] + 1)) for rows in runs for start in rows[::size]]

    def _failed(self, error: BaseException) -> DragonError:
        """Turn a failure of the pipeline into an error that says what to check.

        What a configuration of a part says may be wrong only where it is used.
        """
        kind, place = type(self.pipeline).__name__, self.pipeline.config.get("_name_or_path") or "the pipeline's folder"
        return DragonError(
            f"pipeline {kind} failed while it sampled: {reason_of(error)}; check the configurations of its parts in "
            f"{place}"
        )

    def calls_per_step(self, guidance: float) -> int:  # noqa: ARG002  most pipelines stack what guidance compares
        """Return how often the pipeline calls its denoiser in one diffusion step."""
        return 1

    def latents(
        self, call: Callable[..., Any], prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float
    ) -> Tensor:
        """Call the pipeline for one batch, and return the latents that it makes."""
        made: Tensor = call(**self.call_arguments(prompts, seeds, steps, guidance))[0]
        return made

    def call_arguments(
        self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float
    ) -> dict[str, Any]:
        """Return the arguments of the pipeline's call for one batch."""
        return {
            "prompt": list(map(str, prompts)),
            "generator": [torch.Generator().manual_seed(seed) for seed in seeds],
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "output_type": "latent",
            "return_dict": False,
            **self.arguments,
            **self.told(prompts),
        }

    def told(self, prompts: Sequence[str]) -> dict[str, Any]:
        """Return what the columns of prompts, which are the same, say to the pipeline, as arguments of its call."""
        columns = {name: value for name, value in columns_of(prompts[0]).items() if name != LENGTH}
        repeated = {name: [value] * len(prompts) for name, value in columns.items() if isinstance(value, str)}
        return {self.columns[name]: value for name, value in (columns | repeated).items()}

    @contextmanager
    def _gradient_in_last(self, steps: int, calls_per_step: int) -> Iterator[None]:
        """Record gradient in the denoiser's calls of the last `steps` steps only: it is what takes memory."""
        count = 0

        def before(*_: object) -> None:
            nonlocal count
            step = count // calls_per_step % len(self.pipeline.scheduler.timesteps)
            torch.set_grad_enabled(step >= len(self.pipeline.scheduler.timesteps) - steps)
            count += 1

        def after(*_: object) -> None:
            torch.set_grad_enabled(True)

        handles = [self.denoiser.register_forward_pre_hook(before), self.denoiser.register_forward_hook(after)]
        try:
            with torch.enable_grad():
                yield
        finally:
            for handle in handles:
                handle.remove()

    def condition(self, prompts: Sequence[str]) -> Mapping[str, Any]:
        """Return the further arguments of the denoiser's first call, by name, without guidance.

        Of prompts that the pipeline is not given together they are in a list named `each`, as their shapes may differ.
        """
        if not self.together or any(columns_of(prompt) != columns_of(prompts[0]) for prompt in prompts):
            return {"each": [self._told_first([prompt]) for prompt in prompts]}
        return self._told_first(prompts)

    def _told_first(self, prompts: Sequence[str]) -> Mapping[str, Any]:
        """Return what the denoiser is told in its first call, beside the latents and the time."""
        recorded = self._first_call(prompts, 2)
        return {key: value for key, value in recorded.items() if key not in self.inputs}

    def _first_call(self, prompts: Sequence[str], steps: int) -> Mapping[str, Any]:
        """Start the pipeline for `steps` steps, and return the arguments of the denoiser's first call, by name."""
        recorded: dict[str, Any] = {}

        def record(denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            recorded.update(signature(denoiser.forward).bind(*args, **kwargs).arguments)
            raise Recorded

        handle = self.denoiser.register_forward_pre_hook(record, with_kwargs=True)
        try:
            with suppress(Recorded):
                self.pipeline(**self.call_arguments(prompts, range(len(prompts)), steps, 1.0))
        finally:
            handle.remove()
        return recorded

    def start(self, prompts: Sequence[str], seeds: Sequence[int], steps: int) -> tuple[Tensor, Tensor]:
        """Return the noise that sampling starts from, (clips, ...), and the levels of its steps, (steps,).

        The schedule is the pipeline's own. The noise is drawn from the seed of each clip, as loud as noisy latents of
        unit variance are, as the pipelines have it.
        """
        first: Tensor = self._first_call(prompts[:1], steps)[self.inputs[0]]
        levels = self.noise.grid(self.pipeline.scheduler).to(first.device)
        drawn = [torch.randn(first.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(drawn).to(first.device) * torch.hypot(*self.coefficients(levels[0])), levels

    def coefficients(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma of levels (clips,), both (clips,): noisy latents are alpha latents + sigma noise."""
        return self.noise.coefficients(level)

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """Draw noise and levels as the noise process of the pipeline does."""
        return self.noise.draw(latents, generator)

    def denoising_error(self, latents: Tensor, condition: Mapping[str, Any], draw: Draw) -> Tensor:
        """Return the mean squared error of the denoiser's answer for each clip, (clips,), with gradient."""
        question = self.noise.denoising_target(latents, draw)
        return self._error(question, condition).square().flatten(1).mean(1)

    def denoised(self, latents: Tensor, condition: Mapping[str, Any], draw: Draw) -> Tensor:
        """Return the clean latents that the denoiser's answer amounts to, (clips, ...), with gradient."""
        question = self.noise.denoising_target(latents, draw)
        return latents + question.slope * self._error(question, condition)

    def _error(self, question: DenoisingTarget, condition: Mapping[str, Any]) -> Tensor:
        """Return the denoiser's answer less the right one; in float32, as half precision would round the difference."""
        return self.answer(question, condition).float() - question.target

    def answer(self, question: DenoisingTarget, condition: Mapping[str, Any]) -> Tensor:
        """Return what the denoiser answers, (clips, ...), with gradient; about one clip at a time where it must.

        Weights in half precision compute by autocast, in a run and outside of one.
        """
        if "each" in condition:
            return torch.cat([self.answer(question.of(row), own) for row, own in enumerate(condition["each"])])
        sample, *times = self.inputs
        asked = {sample: question.sample, **dict.fromkeys(times, question.time)}
        with in_half(get_parameter_dtype(self.denoiser), question.sample.device.type):
            answer: Tensor = self.denoiser(**asked, **condition)[0]
        return answer


def in_half(weights: torch.dtype, device: str) -> AbstractContextManager[object]:
    """Return a context in which weights of a reduced precision take float32, which pipelines cast by themselves."""
    if weights == torch.float32 or torch.is_autocast_enabled(device):
        return nullcontext()
    return torch.autocast(device, weights, cache_enabled=False)


class AudioPolicy(RecordedPolicy):
    """The policy over a pipeline that makes audio.

    Attributes:
        sample_rate: the rate of what `decode` makes, in Hz.
        seconds: the length of a clip.
        longest: the longest clip that the pipeline makes, in seconds.
    """

    longest: float = math.inf

    def __init__(self, pipeline: Any, noise: Noise, sample_rate: int, seconds: float, **arguments: Any) -> None:
        super().__init__(pipeline, noise, **arguments)
        self.sample_rate, self.seconds = sample_rate, seconds

    def last(self, seconds: float) -> None:
        """Make clips of this length from now on.

        Raises:
            DragonError: the pipeline makes none of this length.
        """
        self.seconds = check_seconds(seconds, self.longest)
        self.arguments[self.columns[LENGTH]] = seconds

    def told(self, prompts: Sequence[str]) -> dict[str, Any]:
        """Return what the columns of prompts say to the pipeline.

        Raises:
            DragonError: they ask for another length than `last` was told.
        """
        asked = columns_of(prompts[0]).get(LENGTH, self.seconds)
        if asked != self.seconds:
            raise DragonError(f"prompts ask for {asked} s, and clips are {self.seconds} s long; call `last` first")
        return super().told(prompts)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents into audio (clips, channels, samples), with gradient where the latents have it."""
        with torch.set_grad_enabled(latents.requires_grad):
            return torch.cat([self.decode_batch(part) for part in torch.split(latents, self.batch)])

    def decode_batch(self, latents: Tensor) -> Tensor:
        """Decode at most `batch` clips by the pipeline's autoencoder."""
        audio: Tensor = self.pipeline.vae.decode(latents).sample
        return audio

    def clips(self, latents: Tensor, prompts: Sequence[str]) -> Clips:
        """Decode latents into clips with their prompts, as rewards take them."""
        return Clips(self.decode(latents), self.sample_rate, prompts)

    def write(self, latents: Tensor, stem: Path) -> Path:
        """Write a WAV file of one clip's latents, and return its path."""
        path = stem.with_suffix(".wav")
        write_audio(path, self.decode(latents[None])[0], self.sample_rate)
        return path


class PaddedPolicy(AudioPolicy):
    """The policy over a pipeline that is called for one prompt at a time.

    It pads the prompts of a batch to the longest, and the padding reaches the denoiser: in a batch, a clip would depend
    on its neighbours' prompts.
    """

    together = False
