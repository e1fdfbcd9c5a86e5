"""Half precision: what is frozen computes in it, what learns and what makes sound stays in float32."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.pipelines import BUILDERS, folder_of, load
from support.results import result

from dragon_rewards import compose
from dragon_train.config import TrainConfig
from dragon_train.descriptors import Loading
from dragon_train.embedded.pipeline import load_policy
from dragon_train.loop.loop import train
from dragon_train.objectives.configured import make_objective
from dragon_train.pipelines.loading import DECODERS
from dragon_train.registry import load_train_registry

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


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_a_model_in_half_precision_denoises_nearly_as_the_whole_one(name: str, saved: Path) -> None:
    """Outside of a run nothing casts what the denoiser is asked; 8 bits of a number are right to 1 in 256."""
    pipeline = load_train_registry().pipeline(str(folder_of(name, saved)))
    texts, errors = ["a slow hymn", "a jig"], list[torch.Tensor]()
    for dtype in (torch.float32, torch.bfloat16):
        policy = pipeline.factory(Loading(dtype))
        latents = torch.randn(policy.sample(texts, [1, 2], 2, 1.0).shape, generator=torch.Generator().manual_seed(0))
        draw = policy.draw(latents, torch.Generator().manual_seed(0))
        with torch.no_grad():
            errors.append(policy.denoising_error(latents, policy.condition(texts), draw))
    whole, half = errors
    assert torch.allclose(whole, half, rtol=0.05)


@pytest.mark.parametrize(
    ("objective", "options"),
    [
        ("dpo", {}),
        ("kto", {}),
        ("raft", {"samples": 3, "pilot": 2, "gradient_norms": True}),
        ("nft", {"group": 2}),
        ("order", {"group": 2}),
        ("dno", {"group": 2, "rounds": 1}),
        ("grpo", {"group": 2}),
        ("prdp", {"group": 2}),
        ("prdp", {"group": 2, "path": "trajectory"}),
        ("direct", {}),
        ("direct", {"gradient_steps": 2, "eta": 1.0, "intermediate": 0.5, "weight_penalty": 1e-4}),
    ],
    ids=str,
)
def test_every_objective_learns_on_a_model_in_half_precision(
    objective: str, options: dict[str, Any], saved: Path, tmp_path: Path
) -> None:
    config = replace(
        CONFIG, reward="per-song-fad:logmel@airs", objective=objective, options=options, demonstration_steps=4
    )
    _, row = tuned("stable-audio", saved, tmp_path, config)
    assert math.isfinite(row["loss"])
    assert any(value.any() for path, value in result(tmp_path).items() if "lora_B" in path)
