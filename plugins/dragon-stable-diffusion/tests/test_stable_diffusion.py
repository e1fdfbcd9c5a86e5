"""A saved pipeline, loaded as a user loads it: its samples, its images, and a run that tunes it toward diversity."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import save_stable_diffusion
from dragon_stable_diffusion_policy import StableDiffusionPolicy
from PIL import Image
from torch import Tensor

from dragon_rewards import Images, compose
from dragon_train.config import TrainConfig
from dragon_train.loop.loop import train
from dragon_train.loop.tuning import load_tuned
from dragon_train.objectives.configured import make_objective
from dragon_train.registry import load_train_registry

PROMPTS = ["a red house", "a boat", "two dogs", "a tree"]
SEEDS = [1, 2, 3, 4]


def load(folder: Path) -> StableDiffusionPolicy:
    """As `dragon train --pipeline FOLDER` does."""
    policy = load_train_registry().pipeline(str(folder)).factory()
    assert isinstance(policy, StableDiffusionPolicy)
    return policy


@pytest.fixture(scope="module")
def policy(saved: Path) -> StableDiffusionPolicy:
    """For tests that tune nothing."""
    return load(saved)


def test_an_image_depends_on_its_own_prompt_and_seed(policy: StableDiffusionPolicy) -> None:
    latents = policy.sample(PROMPTS, SEEDS, 3, 4.0)
    assert latents.shape == (4, 4, 8, 8)
    torch.testing.assert_close(policy.sample(PROMPTS[2:3], SEEDS[2:3], 3, 4.0), latents[2:3], atol=1e-4, rtol=0)
    assert not torch.allclose(policy.sample(PROMPTS[:1], SEEDS[2:3], 3, 4.0), latents[2:3], atol=1e-4)


def test_images_are_those_of_the_pipeline(policy: StableDiffusionPolicy) -> None:
    images = policy.clips(policy.sample(PROMPTS, SEEDS, 3, 1.0), PROMPTS)
    assert isinstance(images, Images)
    assert images.prompts == tuple(PROMPTS)
    arguments = policy.call_arguments(PROMPTS, SEEDS, 3, 1.0) | {"output_type": "pt"}
    expected: Tensor = policy.pipeline(**arguments)[0]
    torch.testing.assert_close(torch.stack(images.media), expected, atol=1e-5, rtol=0)


def test_an_image_is_written_as_png(policy: StableDiffusionPolicy, tmp_path: Path) -> None:
    latents = policy.sample(PROMPTS[:1], SEEDS[:1], 3, 1.0)
    path = policy.write(latents[0], tmp_path / "house")
    assert path == tmp_path / "house.png"
    written = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) / 255
    torch.testing.assert_close(written, policy.decode(latents)[0], atol=0.51 / 255, rtol=0)


def test_the_condition_is_the_prompts_embedding(policy: StableDiffusionPolicy) -> None:
    condition = policy.condition(PROMPTS)
    expected, _ = policy.pipeline.encode_prompt(PROMPTS, "cpu", 1, do_classifier_free_guidance=False)
    torch.testing.assert_close(condition["encoder_hidden_states"], expected)
    assert not {"sample", "timestep"} & set(condition)


def test_the_denoising_error_is_that_of_the_native_prediction(policy: StableDiffusionPolicy) -> None:
    latents, condition = policy.sample(PROMPTS, SEEDS, 2, 1.0), policy.condition(PROMPTS)
    draw = policy.draw(latents, torch.Generator().manual_seed(0))
    scheduler, states = policy.pipeline.scheduler, condition["encoder_hidden_states"]
    noisy = scheduler.add_noise(latents, draw.noise, draw.level)
    with torch.no_grad():
        answer = policy.denoiser(noisy, draw.level, states).sample
        found = policy.denoising_error(latents, condition, draw)
    a = scheduler.alphas_cumprod[draw.level][:, None, None, None]
    velocity = a.sqrt() * draw.noise - (1 - a).sqrt() * latents
    target = draw.noise if scheduler.config.prediction_type == "epsilon" else velocity
    torch.testing.assert_close(found, (answer - target).square().mean((1, 2, 3)))


def test_the_gradient_of_a_reward_reaches_the_denoiser_through_the_last_step(saved: Path) -> None:
    policy = load(saved)
    latents = policy.sample(PROMPTS, SEEDS, 3, 1.0, gradient_steps=1)
    torch.testing.assert_close(latents.detach(), policy.sample(PROMPTS, SEEDS, 3, 1.0), atol=1e-5, rtol=1e-5)
    compose("clip-score:clip").value(policy.clips(latents, PROMPTS)).sum().backward()
    gradients = [parameter.grad for parameter in policy.denoiser.parameters() if parameter.requires_grad]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients if gradient is not None)


@dataclass
class Tuned:
    """What a run recorded, and the latents before and after."""

    folder: Path
    rows: list[dict[str, float]]
    before: Tensor
    after: Tensor


@pytest.fixture(scope="module")
def tuned(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """Two steps toward more diverse images, with LoRA."""
    policy, folder = load(saved), tmp_path_factory.mktemp("run")
    config = TrainConfig(
        reward="vendi:clip",
        pipeline=str(saved),
        tuning="lora",
        lora_rank=2,
        steps=2,
        prompts_per_step=4,
        demonstration_steps=2,
        pool=1,
    )
    reward, rows = compose(config.reward), list[dict[str, float]]()
    before = policy.sample(PROMPTS, SEEDS, 2, 1.0)
    train(config, policy, reward, make_objective(config), PROMPTS, folder, rows.append)
    return Tuned(folder, rows, before, policy.sample(PROMPTS, SEEDS, 2, 1.0))


def test_two_steps_change_the_images(tuned: Tuned) -> None:
    assert [row["step"] for row in tuned.rows] == [1, 2]
    assert all(1 <= row["reward"] <= 4 for row in tuned.rows)
    assert not torch.equal(tuned.before, tuned.after)


def test_the_run_reloads_into_a_fresh_pipeline(tuned: Tuned, saved: Path) -> None:
    fresh = load(saved)
    load_tuned(fresh, tuned.folder)
    assert torch.equal(fresh.sample(PROMPTS, SEEDS, 2, 1.0), tuned.after)


def test_the_command_line_writes_png_files(tmp_path: Path) -> None:
    saved = save_stable_diffusion(tmp_path / "pipeline", "pndm", "epsilon")
    program = "import sys; from dragon_train.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "sample", *PROMPTS[:2], "--pipeline", str(saved)]
    command += ["--diffusion-steps", "2", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.png"))) == 2
    assert (tmp_path / "prompts.csv").read_text(encoding="utf-8").count(".png") == 2


def test_the_adapter_is_registered_without_heavy_imports() -> None:
    program = (
        "import sys; from dragon_train.registry import load_train_registry as load; "
        "assert 'stable-diffusion' in load().adapters, load().failures; "
        "assert not {'torch', 'diffusers', 'PIL'} & set(sys.modules)"
    )
    environment = os.environ | {"DRAGON_REWARDS_PLUGINS": "dragon-stable-diffusion"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
