"""Every adapter over a real pipeline of its class, tiny and random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from support.pipelines import BUILDERS, ace_step_pipeline, load, stable_audio_3_pipeline
from torch import Tensor, nn

from dragon_rewards.errors import DragonError
from dragon_train.builtin import ADAPTERS
from dragon_train.pipelines.noise import EDM, FlowMatching, Noise, VariancePreserving, per_clip
from dragon_train.pipelines.recorded import AudioPolicy, PaddedPolicy
from dragon_train.protocols import Draw

NAMES = list(BUILDERS)
MASKED = "masked-audio"  # whose noise is no sum; see test_masked_audio
PROMPTS = ["a slow hymn on the organ", "a jig"]
LORA_LAYERS = {
    "stable-audio": 8,  # one block: self- and cross-attention
    "stable-audio-3": 5,  # to_qkv, to_out; to_q, to_kv, to_out
    "ace-step": 16,
    "longcat-audio": 16,
    "audioldm2": 96,
    "audioldm": 32,
    "musicldm": 32,
    MASKED: 8,
}


@pytest.fixture(scope="module", params=NAMES)
def policy(request: pytest.FixtureRequest, saved: Path) -> Any:
    """For tests that tune nothing."""
    return load(request.param, saved)


@pytest.fixture(scope="module", params=[name for name in NAMES if name != MASKED])
def noisy(request: pytest.FixtureRequest, saved: Path) -> Any:
    """A policy whose noisy latents are a sum of latents and noise, for tests that tune nothing."""
    return load(request.param, saved)


def adapted(name: str, saved: Path) -> tuple[AudioPolicy, list[nn.Module]]:
    """A policy with adapters that do something, and the adapted layers."""
    policy = load(name, saved)
    config = LoraConfig(r=2, lora_alpha=2, target_modules=list(policy.lora_targets), init_lora_weights=False)
    policy.denoiser = inject_adapter_in_model(config, policy.denoiser)
    return policy, [layer for layer in policy.denoiser.modules() if hasattr(layer, "lora_A")]


def test_every_adapter_is_tried() -> None:
    assert {adapter.name for adapter in ADAPTERS} == set(NAMES)


def test_a_clip_depends_on_its_own_prompt_and_seed(policy: AudioPolicy) -> None:
    both = policy.sample(PROMPTS, [5, 6], 2, 1.0)
    alone = policy.sample(PROMPTS[1:], [6], 2, 1.0)
    assert torch.allclose(both[1:], alone, atol=1e-4)
    assert not torch.allclose(alone, policy.sample(PROMPTS[1:], [7], 2, 1.0), atol=0.1)
    assert not torch.equal(alone, policy.sample(PROMPTS[:1], [6], 2, 1.0))


def test_guidance_reaches_the_pipeline(policy: AudioPolicy) -> None:
    free, guided = (policy.sample(PROMPTS, [5, 6], 2, guidance) for guidance in (1.0, 4.0))
    assert guided.shape == free.shape
    assert guided.isfinite().all()
    assert not torch.equal(free, guided)


def test_turbo_checkpoints_of_ace_step_ignore_guidance_and_train_on_their_eight_times() -> None:
    torch.manual_seed(0)
    policy = next(a for a in ADAPTERS if a.name == "ace-step").factory(ace_step_pipeline(turbo=True))
    assert torch.equal(policy.sample(PROMPTS, [1, 2], 2, 1.0), policy.sample(PROMPTS, [1, 2], 2, 4.0))
    times = policy.draw(torch.zeros(32, 4), torch.Generator().manual_seed(0)).level
    schedule = policy.pipeline._get_timestep_schedule(8, 3.0)
    assert torch.allclose(times.sort(descending=True).values, schedule.repeat_interleave(4))


def test_levels_of_ace_step_and_stable_audio_3_are_those_of_their_trainers(saved: Path) -> None:
    """Against samples drawn as the trainers draw them; 20,000 of each, so quantiles agree within 0.02."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(20_000, generator=generator)
    kept = normal[normal.sigmoid() > 0.075].sigmoid()
    drawn = {"ace-step": (normal - 0.4).sigmoid(), "stable-audio-3": 1 - (kept - 0.075) / 0.925}
    shares = torch.linspace(0.05, 0.95, 19)
    for name, times in drawn.items():
        level = load(name, saved).draw(torch.zeros(1000, 1), generator).level
        assert torch.allclose(level.quantile(shares), times.quantile(shares), atol=0.02)


def levels_at(policy: AudioPolicy, time: Tensor) -> Any:
    """The noise level that the pipeline means by a time."""
    if isinstance(policy.noise, EDM):
        return policy.pipeline.scheduler.sigmas[policy.pipeline.scheduler.step_index]
    if isinstance(policy.noise, FlowMatching):
        return 1 - time / policy.noise.scale if policy.noise.from_noise else time / policy.noise.scale
    return time


def oracle(policy: AudioPolicy, clean: Tensor) -> Any:
    """A hook that answers for the denoiser as one would that knew the clean latents.

    The noise in its input is found from the process' own mixture, which is linear in it.
    """

    def answer(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], __: Any) -> tuple[Tensor]:
        named = dict(zip(policy.inputs, args, strict=False)) | kwargs
        sample, time = named[policy.inputs[0]], named[policy.inputs[1]].reshape(-1)
        level = levels_at(policy, time).expand(len(clean))
        zero = policy.noise.denoising_target(clean, Draw(torch.zeros_like(clean), level)).sample
        one = policy.noise.denoising_target(clean, Draw(torch.ones_like(clean), level)).sample
        denoising_target = policy.noise.denoising_target(clean, Draw((sample - zero) / (one - zero), level))
        assert torch.allclose(denoising_target.sample, sample, atol=1e-4)
        assert torch.allclose(denoising_target.time.float(), time.float(), rtol=1e-5)
        return Answer((denoising_target.target,))

    return answer


class Answer(tuple[Tensor]):
    """Either form in which denoisers answer."""

    __slots__ = ()

    @property
    def sample(self) -> Tensor:
        return self[0]


def assert_oracle_denoises(policy: Any) -> None:
    clean = torch.randn(policy.sample(PROMPTS[:1], [0], 2, 1.0).shape, generator=torch.Generator().manual_seed(9))
    handle = policy.denoiser.register_forward_hook(oracle(policy, clean), with_kwargs=True)
    try:
        assert torch.allclose(policy.sample(PROMPTS[:1], [1], 4, 1.0), clean, atol=2e-2)
    finally:
        handle.remove()


def test_the_pipeline_s_own_steps_lead_a_perfect_answer_to_the_clean_latents(noisy: AudioPolicy) -> None:
    """Sign, scale and time of the target: one who answers it at every step ends at what it answers for.

    Tolerance: the last step of EDM and DDIM leaves noise of the smallest level or rounds.
    """
    assert_oracle_denoises(noisy)


def test_distilled_stable_audio_3_steps_to_the_clean_latents_too() -> None:
    torch.manual_seed(0)
    pipeline = stable_audio_3_pipeline(distilled=True)
    assert_oracle_denoises(next(a for a in ADAPTERS if a.name == "stable-audio-3").factory(pipeline))


def test_the_condition_is_what_the_pipeline_tells_its_denoiser(policy: AudioPolicy) -> None:
    calls: list[dict[str, Any]] = []
    handle = policy.denoiser.register_forward_pre_hook(lambda _, __, kwargs: calls.append(kwargs), with_kwargs=True)
    policy.sample(PROMPTS[:1], [3], 3, 1.0)
    handle.remove()
    condition = policy.condition(PROMPTS[:1])
    condition = condition["each"][0] if "each" in condition else condition
    for call in calls:
        told = {key: value for key, value in call.items() if key not in policy.inputs}
        assert told.keys() <= condition.keys()
        for key, value in told.items():
            assert torch.equal(value, condition[key]) if isinstance(value, Tensor) else True


def test_denoising_errors_of_a_batch_are_those_of_its_clips(policy: AudioPolicy) -> None:
    latents = policy.sample(PROMPTS, [1, 2], 2, 1.0)
    draw = policy.draw(latents, torch.Generator().manual_seed(0))
    with torch.no_grad():
        both = policy.denoising_error(latents, policy.condition(PROMPTS), draw)
        alone = policy.denoising_error(latents[1:], policy.condition(PROMPTS[1:]), Draw(draw.noise[1:], draw.level[1:]))
    assert both.shape == (2,)
    assert torch.allclose(both[1:], alone, rtol=1e-3)


def test_what_an_answer_amounts_to_would_have_that_answer(noisy: AudioPolicy) -> None:
    """Latents that are clean by the denoiser's account, with the noise that is then left over, ask for its answer."""
    latents = noisy.sample(PROMPTS, [1, 2], 2, 1.0)
    draw = noisy.draw(latents, torch.Generator().manual_seed(0))
    condition = noisy.condition(PROMPTS)
    with torch.no_grad():
        answer = noisy.answer(noisy.noise.denoising_target(latents, draw), condition)
        clean = noisy.denoised(latents, condition, draw)
    alpha, sigma = (per_clip(each, latents) for each in shares(noisy.noise, draw.level))
    rest = Draw((alpha * latents + sigma * draw.noise - alpha * clean) / sigma, draw.level)
    assert torch.allclose(noisy.noise.denoising_target(clean, rest).target, answer.float(), rtol=1e-3, atol=1e-3)


def shares(noise: Noise, level: Tensor) -> tuple[Tensor, Tensor]:
    """The factors of latents and of noise in what is noised to a level."""
    if isinstance(noise, EDM):
        return torch.ones_like(level), level
    if isinstance(noise, FlowMatching):
        return 1 - level, level
    assert isinstance(noise, VariancePreserving)
    a = noise.scheduler.alphas_cumprod[level]
    return a.sqrt(), (1 - a).sqrt()


def test_decoded_audio_is_the_pipeline_s_own(policy: AudioPolicy) -> None:
    """Against the pipeline asked for sound instead of latents."""
    assert isinstance(policy, AudioPolicy)
    latents = policy.sample(PROMPTS[:1], [4], 2, 1.0)
    audio = policy.decode(latents)
    arguments = policy.call_arguments(PROMPTS[:1], [4], 2, 1.0) | {"output_type": "pt"}
    own = policy.pipeline(**arguments)[0]
    assert torch.allclose(audio, own.reshape(audio.shape), atol=1e-5)
    assert audio.shape[:2] == (1, own.shape[1] if own.ndim == 3 else 1)
    assert audio.std() > 0
    clips = policy.clips(latents, PROMPTS[:1])
    assert clips.sample_rate == policy.sample_rate
    assert len(clips) == 1


@pytest.mark.parametrize("name", NAMES)
def test_lora_is_put_on_every_projection_of_the_attention(name: str, saved: Path) -> None:
    policy, layers = adapted(name, saved)
    assert len(layers) == LORA_LAYERS[name]
    bare = [
        path
        for path, layer in policy.denoiser.named_modules()
        if isinstance(layer, nn.Linear) and "attn" in path and ".to_" in path and "lora" not in path
    ]
    assert all(path.endswith("base_layer") for path in bare)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("name", NAMES)
def test_gradient_flows_through_the_last_steps(name: str, guidance: float, saved: Path) -> None:
    policy, layers = adapted(name, saved)
    enabled: list[bool] = []
    policy.denoiser.register_forward_pre_hook(lambda *_: enabled.append(torch.is_grad_enabled()))
    plain = policy.sample(PROMPTS, [1, 2], 3, guidance)
    assert not plain.requires_grad
    assert not any(enabled)
    enabled.clear()
    latents = policy.sample(PROMPTS, [1, 2], 3, guidance, gradient_steps=1)
    assert torch.equal(latents.detach(), plain)
    policy.decode(latents).square().sum().backward()
    assert all(layer.lora_A["default"].weight.grad.any() for layer in layers)  # type: ignore[index, union-attr]
    pipeline_calls = len(PROMPTS) if isinstance(policy, PaddedPolicy) else 1
    assert len(enabled) == pipeline_calls * 3 * policy.calls_per_step(guidance)
    assert policy.denoiser.training is False


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_kept_for_no_more_steps_than_asked(name: str, saved: Path) -> None:
    policy, _ = adapted(name, saved)
    enabled: list[bool] = []

    class Watch(nn.Module):
        """Sees the mode in which the denoiser runs."""

        def forward(self, x: Tensor) -> Tensor:
            enabled.append(torch.is_grad_enabled())
            return x

    first = next(layer for layer in policy.denoiser.modules() if isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv1d))
    watch = Watch()
    first.register_forward_pre_hook(lambda _, args: watch(args[0]))
    policy.sample(PROMPTS[:1], [1], 3, 3.0, gradient_steps=1)
    seen = enabled[:: len(enabled) // (3 * policy.calls_per_step(3.0))]
    assert seen == [False] * 2 * policy.calls_per_step(3.0) + [True] * policy.calls_per_step(3.0)


@pytest.mark.parametrize(("name", "longest"), [("stable-audio-3", 384), ("longcat-audio", 30)])
def test_clips_longer_than_the_pipeline_makes_are_refused(name: str, longest: float, saved: Path) -> None:
    policy = load(name, saved)
    assert type(policy)(policy.pipeline, seconds=0.5).sample(PROMPTS[:1], [0], 1, 1.0).isfinite().all()
    for seconds in (0, longest + 1):
        with pytest.raises(DragonError, match=f"seconds = {seconds}.*at most {longest}"):
            type(policy)(policy.pipeline, seconds=seconds)


def test_spectrogram_clips_are_as_long_as_asked(saved: Path) -> None:
    """An odd length: the spectrum is rounded up, and the sound cut."""
    policy = load("audioldm2", saved)
    shorter = type(policy)(policy.pipeline, seconds=0.15)
    assert shorter.decode(shorter.sample(PROMPTS[:1], [0], 1, 1.0)).shape == (1, 1, 600)
