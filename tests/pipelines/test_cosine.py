"""Stable Audio Open's own scheduler: a stochastic solver that draws from torchsde."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from diffusers import CosineDPMSolverMultistepScheduler
from support.pipelines import build
from support.results import result

from dragon_rewards import compose
from dragon_rewards.errors import DragonError
from dragon_train.config import TrainConfig
from dragon_train.loop.loop import train
from dragon_train.objectives.configured import make_objective
from dragon_train.registry import load_train_registry
from pipelines.test_adapters import PROMPTS, assert_oracle_denoises

if TYPE_CHECKING:
    from pathlib import Path

    from dragon_train.protocols import Policy

# It asks for noise beyond its interval: by rounding, and where sigma is 0 and the noise is multiplied by it.
pytestmark = pytest.mark.filterwarnings("ignore:Should have:UserWarning")
CONFIG = TrainConfig("vendi:logmel", lora_rank=2, steps=1, prompts_per_step=2, demonstration_steps=2, epochs=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pipeline with the scheduler of stabilityai/stable-audio-open-1.0."""
    pipeline = build("stable-audio")
    pipeline.scheduler = CosineDPMSolverMultistepScheduler(sigma_min=0.3, sigma_max=500.0, solver_order=2)
    folder = tmp_path_factory.mktemp("cosine")
    pipeline.save_pretrained(folder)
    return folder


def policy_of(folder: Path) -> Policy:
    return load_train_registry().pipeline(str(folder)).factory()


def test_a_clip_depends_on_its_own_seed(folder: Path) -> None:
    policy = policy_of(folder)
    both, alone = policy.sample(PROMPTS, [5, 6], 3, 1.0), policy.sample(PROMPTS[1:], [6], 3, 1.0)
    assert torch.allclose(both[1:], alone, atol=1e-5)
    assert not torch.allclose(alone, policy.sample(PROMPTS[1:], [7], 3, 1.0), atol=0.1)


def test_its_steps_lead_a_perfect_answer_to_the_clean_latents(folder: Path) -> None:
    assert_oracle_denoises(policy_of(folder))


def test_it_is_tuned(folder: Path, tmp_path: Path) -> None:
    reward = compose(CONFIG.reward)
    for objective in ("dpo", "kto"):
        config = replace(CONFIG, objective=objective)
        out = tmp_path / objective
        train(config, policy_of(folder), reward, make_objective(config), PROMPTS, out, lambda _: None)
        assert any(value.any() for name, value in result(out).items() if "lora_B" in name)


def test_without_torchsde_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchsde", None)
    with pytest.raises(DragonError, match=r"needs torchsde; pip install 'dragon-rewards\[stable-audio\]'"):
        policy_of(folder)
