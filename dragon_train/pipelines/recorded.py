"""What adapters over diffusers pipelines share: the pipeline samples as it is, and shows how it feeds its denoiser."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from inspect import signature, unwrap
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from dragon_rewards.audio import write_audio
from dragon_rewards.clips import Clips

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from dragon_train.pipelines.base import Draw
    from dragon_train.pipelines.noise import Noise

BATCH = 32


class _Recorded(Exception):  # noqa: N818  not an error: it ends a call whose first step has told enough
    """The denoiser was called."""


class RecordedPolicy:
    """The trainer's view of a pipeline, whose call is run as it is.

    The condition of a prompt is not computed anew here: the pipeline is started, and what it gives its denoiser beside
    the noisy latents and the time is recorded.

    Attributes:
        component: the pipeline's name for its denoiser.
        inputs: the denoiser's names for the noisy latents and for the time; where it takes the time twice, both.
        calls_per_step: how often the pipeline calls its denoiser in one diffusion step.
        lora_targets: the attention's projections, which diffusers names alike in every model.
        pipeline: the diffusers pipeline.
        noise: the process that it was trained on.
        arguments: of the pipeline's call, but prompts, seeds, steps and guidance; a value that is a function is
            given the number of prompts.
    """

    component: ClassVar[str] = "transformer"
    inputs: ClassVar[tuple[str, ...]] = ("hidden_states", "timestep")
    calls_per_step: ClassVar[int] = 1
    lora_targets: Sequence[str] = ("to_q", "to_k", "to_v", "to_out.0")

    def __init__(self, pipeline: Any, noise: Noise, **arguments: Any) -> None:
        self.pipeline, self.noise, self.arguments = pipeline, noise, arguments
        pipeline.set_progress_bar_config(disable=True)
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module) and part is not self.denoiser:
                part.requires_grad_(False)

    @property
    def denoiser(self) -> nn.Module:
        """The network that is tuned."""
        network: nn.Module = getattr(self.pipeline, self.component)
        return network

    @denoiser.setter
    def denoiser(self, network: nn.Module) -> None:
        setattr(self.pipeline, self.component, network)

    def sample(
        self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float, gradient_steps: int = 0
    ) -> Tensor:
        """Latents of one clip per prompt, `BATCH` at a time."""
        parts = [slice(start, start + BATCH) for start in range(0, len(prompts), BATCH)]
        if not gradient_steps:
            return torch.cat([self._call(prompts[part], seeds[part], steps, guidance) for part in parts])
        with self._gradient_in_last(gradient_steps * self.calls_per_step, steps * self.calls_per_step):
            return torch.cat([self._call_with_gradient(prompts[part], seeds[part], steps, guidance) for part in parts])

    def _call(self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float) -> Tensor:
        latents: Tensor = self.pipeline(**self._arguments(prompts, seeds, steps, guidance))[0]
        return latents

    def _call_with_gradient(self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float) -> Tensor:
        call = unwrap(type(self.pipeline).__call__)  # without its `no_grad`
        latents: Tensor = call(self.pipeline, **self._arguments(prompts, seeds, steps, guidance))[0]
        return latents

    def _arguments(self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float) -> dict[str, Any]:
        own = {key: value(len(prompts)) if callable(value) else value for key, value in self.arguments.items()}
        return {
            "prompt": list(prompts),
            "generator": [torch.Generator().manual_seed(seed) for seed in seeds],
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "output_type": "latent",
            "return_dict": False,
            **own,
        }

    @contextmanager
    def _gradient_in_last(self, last: int, calls: int) -> Iterator[None]:
        """Gradient in the last of every `calls` calls of the denoiser only: it is what takes memory."""
        count = 0

        def before(*_: object) -> None:
            nonlocal count
            torch.set_grad_enabled(count % calls >= calls - last)
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
        """The further arguments of the denoiser's first call, without guidance."""
        recorded: dict[str, Any] = {}

        def record(denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            recorded.update(signature(denoiser.forward).bind(*args, **kwargs).arguments)
            raise _Recorded

        handle = self.denoiser.register_forward_pre_hook(record, with_kwargs=True)
        try:
            with suppress(_Recorded):
                self._call(prompts, range(len(prompts)), 2, 1.0)
        finally:
            handle.remove()
        return {key: value for key, value in recorded.items() if key not in self.inputs}

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """As the noise process does."""
        return self.noise.draw(latents, generator)

    def denoising_error(self, latents: Tensor, condition: Mapping[str, Any], draw: Draw) -> Tensor:
        """Mean squared error of the denoiser's answer, (clips,)."""
        question = self.noise.question(latents, draw)
        sample, *times = self.inputs
        asked = {sample: question.sample, **dict.fromkeys(times, question.time)}
        error: Tensor = self.denoiser(**asked, **condition)[0] - question.target
        return error.square().flatten(1).mean(1)


class AudioPolicy(RecordedPolicy):
    """A pipeline that makes audio.

    Attributes:
        sample_rate: samples a second of what `decode` makes.
        seconds: the length of a clip.
    """

    def __init__(self, pipeline: Any, noise: Noise, sample_rate: int, seconds: float, **arguments: Any) -> None:
        super().__init__(pipeline, noise, **arguments)
        self.sample_rate, self.seconds = sample_rate, seconds

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> audio (clips, channels, samples), with gradient where the latents have it."""
        with torch.set_grad_enabled(latents.requires_grad):
            return torch.cat([self.decode_batch(part) for part in torch.split(latents, BATCH)])

    def decode_batch(self, latents: Tensor) -> Tensor:
        """At most `BATCH` clips by the pipeline's autoencoder."""
        audio: Tensor = self.pipeline.vae.decode(latents).sample
        return audio

    def clips(self, latents: Tensor, prompts: Sequence[str]) -> Clips:
        """Decoded, with their prompts."""
        return Clips(self.decode(latents), self.sample_rate, prompts)

    def write(self, latents: Tensor, stem: Path) -> Path:
        """A WAV file of one clip's latents."""
        path = stem.with_suffix(".wav")
        write_audio(path, self.decode(latents[None])[0], self.sample_rate)
        return path
