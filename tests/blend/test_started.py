"""What a run that started from tuned weights is compared and blended with: the model that these weights make."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from support.pipelines import load
from support.tiny import tiny_run

from dragon_rewards.compute.devices import CPU
from dragon_rewards.errors import ConfigError
from dragon_train.bench.report.paired_comparisons import generation_of
from dragon_train.bench.report.source import read_results
from dragon_train.blend.plan import make_plan
from dragon_train.blend.save import write_blend
from dragon_train.blend.weights import load_blending
from dragon_train.loop.run_folder import ADAPTER, ADAPTER_CONFIG, stored_config
from dragon_train.loop.start import load_reference, start_of
from dragon_train.loop.tuning import load_tuned
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from pathlib import Path

    from blend.conftest import Tune
    from dragon_train.config import Tuning
    from dragon_train.descriptors import PipelineInfo
    from dragon_train.protocols import Policy

NAME, PROMPTS = "audioldm", ["a slow hymn on the organ", "a jig"]


def sampled(policy: Policy) -> torch.Tensor:
    return policy.sample(PROMPTS, [1, 2], 2, 1.0)


def tuned(run: Path, saved: Path) -> torch.Tensor:
    policy = load(NAME, saved)
    load_tuned(policy, run)
    return sampled(policy)


def second(first: Path, folder: Path, saved: Path) -> Path:
    """A run that started from another."""
    tiny_run(replace(stored_config(first), start_from=str(first), seed=1), folder, load(NAME, saved))
    return folder


def info_of(run: Path) -> PipelineInfo:
    return load_train_registry().pipeline(stored_config(run).pipeline)


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_both_ends_of_a_blend_are_the_start_and_the_result(
    tuning: Tuning, tune: Tune, saved: Path, tmp_path: Path
) -> None:
    """To 1e-5: of adapters, further ones that are 0 are added to each sum."""
    first = tune(NAME, tuning)
    run = second(first, tmp_path / "run", saved)
    assert not torch.allclose(tuned(run, saved), tuned(first, saved), atol=1e-4)
    torch.testing.assert_close(sampled(load_reference(info_of(run), run, CPU)), tuned(first, saved), rtol=0, atol=1e-5)
    blending = load_blending(info_of(run), run, 1, CPU)
    for share, model in ((0.0, first), (1.0, run)):
        blending.become((share,))
        torch.testing.assert_close(sampled(blending.policy), tuned(model, saved), rtol=0, atol=1e-5)


def test_a_saved_blend_changes_each_layer_by_its_shares_and_keeps_its_reference(
    tune: Tune, saved: Path, tmp_path: Path
) -> None:
    first = tune(NAME, "lora")
    run = second(first, tmp_path / "run", saved)
    write_blend(run, (0.3,), tmp_path / "blend", CPU)
    updates = []
    for folder in (first, run, tmp_path / "blend"):
        policy = load(NAME, saved)
        load_tuned(policy, folder)
        layers = [module for module in policy.denoiser.modules() if hasattr(module, "lora_A")]
        updates.append([layer.lora_B["default"].weight @ layer.lora_A["default"].weight for layer in layers])
    assert json.loads((tmp_path / "blend" / ADAPTER_CONFIG).read_text())["r"] == 2 * stored_config(run).lora_rank
    for old, new, mixed in zip(*updates, strict=True):
        torch.testing.assert_close(mixed, 0.3 * new + 0.7 * old, rtol=0, atol=1e-6)
    start = start_of(tmp_path / "blend")
    assert start is not None
    assert start.identity == getattr(start_of(run), "identity", "")


def test_a_start_that_is_another_by_now_is_refused(tune: Tune, saved: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    for name in (ADAPTER, ADAPTER_CONFIG):
        (first / name).write_bytes((tune(NAME, "lora") / name).read_bytes())
    config = replace(stored_config(tune(NAME, "lora")), start_from=str(first))
    tiny_run(config, tmp_path / "run", load(NAME, saved))
    results = read_results(tmp_path / "run")
    given = generation_of(results, results.runs[0], 2, None)
    assert given.start == getattr(start_of(tmp_path / "run"), "identity", "")
    assert given.start in given.key
    (first / ADAPTER).write_bytes(b"other weights")
    for refused in (
        lambda: generation_of(results, results.runs[0], 2, None),
        lambda: make_plan(tmp_path / "run", 1, (0.0, 1.0), None),
    ):
        with pytest.raises(ConfigError, match="holds other weights by now; restore them"):
            refused()
