"""Half precision: what is frozen computes in it, what learns and what makes sound stays in float32."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from support.pipelines import load
from support.results import result

from dragon_rewards import compose
from dragon_train.config import TrainConfig
from dragon_train.embedded.pipeline import load_policy
from dragon_train.loop.loop import train
from dragon_train.objectives.configured import make_objective
from dragon_train.pipelines.loading import DECODERS

if TYPE_CHECKING:
    from pathlib import Path

    from dragon_train.protocols import Policy

CONFIG = TrainConfig(
    "vendi:logmel", precision="bf16", lora_rank=2, steps=1, prompts_per_step=2, demonstration_steps=2, epochs=1
)


def tuned(name: str, saved: Path, out: Path, config: TrainConfig) -> tuple[Policy, dict[str, float]]:
    """A policy after one step, and its figures."""
    policy: Policy = load_policy() if name == "embedded" else load(name, saved)
    reward, rows = compose(config.reward), list[dict[str, float]]()
    train(config, policy, reward, make_objective(config), ["a slow hymn", "a jig"], out, rows.append)
    return policy, rows[0]


@pytest.mark.parametrize("name", ["embedded", "stable-audio-3", "ace-step", "audioldm2"])
def test_adapters_learn_in_float32_on_a_model_in_half_precision(name: str, saved: Path, tmp_path: Path) -> None:
    """The first loss is that of a policy that equals its reference: ln 2."""
    policy, row = tuned(name, saved, tmp_path, CONFIG)
    assert row["loss"] == pytest.approx(math.log(2), abs=1e-3)
    weights = dict(policy.denoiser.named_parameters())
    kept = set(getattr(policy.denoiser, "_keep_in_fp32_modules", None) or ())
    for path, weight in weights.items():
        frozen = "lora" not in path and not kept & set(path.split("."))
        assert weight.dtype == (torch.bfloat16 if frozen else torch.float32), path
    assert {value.dtype for value in result(tmp_path).values()} == {torch.float32}
    assert any(value.any() for path, value in result(tmp_path).items() if "lora_B" in path)
    for part in DECODERS:
        decoder = policy.pipeline.components.get(part)
        assert decoder is None or {weight.dtype for weight in decoder.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", ["stable-audio", "ace-step"])
def test_all_weights_learn_in_float32(name: str, saved: Path, tmp_path: Path) -> None:
    policy, row = tuned(name, saved, tmp_path, replace(CONFIG, tuning="all"))
    assert row["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert {weight.dtype for weight in policy.denoiser.parameters()} == {torch.float32}
    assert {value.dtype for value in result(tmp_path).values()} == {torch.float32}
