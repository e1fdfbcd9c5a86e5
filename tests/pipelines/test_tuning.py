"""Every pipeline class, loaded from a folder, tuned, stored, and reloaded: by this project and as documented."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from peft import PeftModel
from support.pipelines import BUILDERS, load

from dragon_rewards import compose
from dragon_rewards.errors import ConfigError
from dragon_train.config import TrainConfig
from dragon_train.loop.loop import train
from dragon_train.loop.run_folder import ADAPTER
from dragon_train.loop.tuning import PREFIX, load_tuned
from dragon_train.objectives.configured import make_objective

if TYPE_CHECKING:
    from dragon_train.pipelines.recorded import AudioPolicy

NAMES = list(BUILDERS)
PROMPTS = ["a slow hymn on the organ", "a jig"]


def tune(policy: AudioPolicy, out: Path) -> list[dict[str, float]]:
    """Two steps toward more diverse clips, with LoRA; returns what was recorded of them."""
    config = TrainConfig(
        "vendi:logmel",
        tuning="lora",
        lora_rank=2,
        steps=2,
        prompts_per_step=2,
        demonstration_steps=2,
        epochs=1,
        learning_rate=1e-2,  # at which tokens change, too
    )
    reward, rows = compose(config.reward), list[dict[str, float]]()
    train(config, policy, reward, make_objective(config), PROMPTS, out, rows.append)
    return rows


class Run:
    """What a run was on, and what it left."""

    def __init__(self, name: str, saved: Path, folder: Path) -> None:
        self.name, self.saved, self.folder = name, saved, folder
        policy = load(name, saved)
        self.untuned = policy.sample(PROMPTS, [1, 2], 2, 1.0)
        self.rows = tune(policy, folder)
        self.tuned = policy.sample(PROMPTS, [1, 2], 2, 1.0)


@pytest.fixture(scope="module", params=NAMES)
def run(request: pytest.FixtureRequest, saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on a pipeline."""
    return Run(request.param, saved, tmp_path_factory.mktemp("runs"))


def test_two_steps_change_what_the_pipeline_makes(run: Run) -> None:
    assert [row["step"] for row in run.rows] == [1, 2]
    assert not torch.equal(run.tuned, run.untuned)


def test_the_result_reloads_into_a_fresh_pipeline(run: Run) -> None:
    fresh = load(run.name, run.saved)
    assert torch.equal(fresh.sample(PROMPTS, [1, 2], 2, 1.0), run.untuned)
    load_tuned(fresh, run.folder)
    assert torch.equal(fresh.sample(PROMPTS, [1, 2], 2, 1.0), run.tuned)


def test_peft_reloads_the_result(run: Run) -> None:
    fresh = load(run.name, run.saved)
    fresh.denoiser = PeftModel.from_pretrained(fresh.denoiser, run.folder).base_model.model
    assert torch.equal(fresh.sample(PROMPTS, [1, 2], 2, 1.0), run.tuned)


def test_diffusers_reloads_the_result_where_it_can(run: Run) -> None:
    fresh = load(run.name, run.saved)
    if run.name == "ace-step":
        fresh.pipeline.load_lora_weights(run.folder)
    elif run.name in {"audioldm", "musicldm"}:
        fresh.denoiser.load_lora_adapter(run.folder, weight_name=ADAPTER, prefix=PREFIX.removesuffix("."))
    else:
        assert not hasattr(fresh.pipeline, "load_lora_weights")
        assert not hasattr(fresh.denoiser, "load_lora_adapter")
        return
    assert torch.equal(fresh.sample(PROMPTS, [1, 2], 2, 1.0), run.tuned)


def test_the_result_of_another_pipeline_is_refused(run: Run) -> None:
    other = load("stable-audio" if run.name != "stable-audio" else "ace-step", run.saved)
    with pytest.raises(ConfigError, match=r"tuned on another pipeline; .*--pipeline"):
        load_tuned(other, run.folder)
