"""Stable Diffusion 3 as a user loads it, without its third text encoder: its images, its loss, and a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from conftest import LAYERS, TEXT, tokenizer
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from dragon_stable_diffusion_policy import StableDiffusion3Policy
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from dragon_rewards import compose
from dragon_train.config import TrainConfig
from dragon_train.loop.loop import train
from dragon_train.loop.tuning import load_tuned
from dragon_train.objectives.configured import make_objective
from dragon_train.prompt_table import Prompt
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from pathlib import Path

PROMPTS = ["a red house", "a boat", "two dogs", "a tree"]
SEEDS = [1, 2, 3, 4]
WIDTH = LAYERS["hidden_size"]


@pytest.fixture(scope="module")
def saved3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of images of 16 x 16 pixels."""
    torch.manual_seed(0)
    folder, texts = tmp_path_factory.mktemp("sd3"), CLIPTextConfig(**TEXT, projection_dim=WIDTH)
    parts: dict[str, Any] = {
        "transformer": SD3Transformer2DModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=16,
            pooled_projection_dim=2 * WIDTH,
            pos_embed_max_size=8,
        ),
        "vae": AutoencoderKL(
            block_out_channels=(8, 16),
            norm_num_groups=4,
            latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            scaling_factor=1.5,
            shift_factor=0.06,
        ),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        "text_encoder": CLIPTextModelWithProjection(texts),
        "text_encoder_2": CLIPTextModelWithProjection(texts),
        "text_encoder_3": None,
        "tokenizer": tokenizer(),
        "tokenizer_2": tokenizer(),
        "tokenizer_3": None,
    }
    StableDiffusion3Pipeline(**parts).save_pretrained(folder)
    return folder


def load(folder: Path) -> StableDiffusion3Policy:
    """As `dragon train --pipeline FOLDER` does."""
    policy = load_train_registry().pipeline(str(folder)).factory()
    assert isinstance(policy, StableDiffusion3Policy)
    return policy


@pytest.fixture(scope="module")
def policy(saved3: Path) -> StableDiffusion3Policy:
    """For tests that tune nothing."""
    return load(saved3)


def test_images_are_those_of_the_pipeline_and_of_their_own_seeds(policy: StableDiffusion3Policy) -> None:
    latents = policy.sample(PROMPTS, SEEDS, 3, 4.0)
    torch.testing.assert_close(policy.sample(PROMPTS[2:3], SEEDS[2:3], 3, 4.0), latents[2:3], atol=1e-4, rtol=0)
    arguments = policy.call_arguments(PROMPTS, SEEDS, 3, 4.0) | {"output_type": "pt"}
    expected = policy.pipeline(**arguments)[0]
    torch.testing.assert_close(policy.decode(latents), expected, atol=1e-5, rtol=0)


def test_a_negative_prompt_changes_guided_images(policy: StableDiffusion3Policy) -> None:
    wary = [Prompt(text, {"negative_prompt": "a cat"}) for text in PROMPTS]
    assert not torch.equal(policy.sample(wary, SEEDS, 3, 4.0), policy.sample(PROMPTS, SEEDS, 3, 4.0))
    assert torch.equal(policy.sample(wary, SEEDS, 3, 1.0), policy.sample(PROMPTS, SEEDS, 3, 1.0))


def test_steps_with_the_target_of_the_loss_lead_to_the_clean_latents(policy: StableDiffusion3Policy) -> None:
    """Sign, scale and time: the velocity is the noise less the latents, at t times the scheduler's 1,000."""
    clean = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    times: list[float] = []

    def answer(_: Any, __: Any, told: dict[str, Any], ___: Any) -> tuple[torch.Tensor]:
        t = told["timestep"] / 1000
        times.append(float(t))
        return ((told["hidden_states"] - clean) / t,)

    handle = policy.denoiser.register_forward_hook(answer, with_kwargs=True)
    made = policy.sample(PROMPTS[:1], SEEDS[:1], 4, 1.0)
    handle.remove()
    torch.testing.assert_close(made, clean, atol=1e-4, rtol=0)
    draw = policy.draw(clean, torch.Generator().manual_seed(1))
    target = policy.noise.denoising_target(clean, draw)
    torch.testing.assert_close(target.target, (target.sample - clean) / draw.level)
    assert float(target.time / draw.level) == pytest.approx(1000)
    assert times[0] == pytest.approx(1)


def test_a_run_changes_the_images_and_reloads(saved3: Path, tmp_path: Path) -> None:
    policy = load(saved3)
    config = TrainConfig(
        "vendi:clip",
        pipeline=str(saved3),
        tuning="lora",
        lora_rank=2,
        steps=1,
        prompts_per_step=4,
        demonstration_steps=2,
    )
    before = policy.sample(PROMPTS, SEEDS, 2, 1.0)
    train(config, policy, compose(config.reward), make_objective(config), PROMPTS, tmp_path, lambda _: None)
    after, fresh = policy.sample(PROMPTS, SEEDS, 2, 1.0), load(saved3)
    assert not torch.equal(after, before)
    load_tuned(fresh, tmp_path)
    assert torch.equal(fresh.sample(PROMPTS, SEEDS, 2, 1.0), after)
