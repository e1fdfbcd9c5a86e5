"""Runs that start from tuned weights: these are the policy's first and the reference's, wherever they were stored."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from support.results import result
from support.tiny import CONFIG, tiny_policy, tiny_run, whole_and_resumed
from typer.testing import CliRunner

from dragon_rewards.errors import ConfigError, DragonError
from dragon_train.cli.app import app
from dragon_train.loop.diagnostics import update_rank
from dragon_train.loop.learner import Lora, PolicyLearner
from dragon_train.loop.processes import Processes
from dragon_train.loop.run_folder import ADAPTER, ADAPTER_CONFIG, CHECKPOINT
from dragon_train.loop.run_folder import CONFIG as SETTINGS
from dragon_train.loop.start import LORA_WEIGHTS, take_start
from dragon_train.loop.tuning import load_tuned

if TYPE_CHECKING:
    from dragon_train.config import TrainConfig, Tuning
    from dragon_train.protocols import Policy

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
SONG = "per-song-fad:logmel@airs"
JIG = ["a jig on the fiddle"]


@pytest.fixture(scope="module", name="adapter")
def tuned_adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("first")
    tiny_run(replace(CONFIG, steps=1, learning_rate=0.1), folder)
    return folder


@pytest.fixture(scope="module", name="denoiser")
def tuned_denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of all weights."""
    folder = tmp_path_factory.mktemp("whole")
    tiny_run(replace(CONFIG, steps=1, tuning="all"), folder)
    return folder


def sound(policy: Policy) -> torch.Tensor:
    return policy.sample(JIG, [0], 2, 1.0).cpu()


def begun(folder: Path, name: str = "stable-audio", **changes: Any) -> PolicyLearner:
    policy, config = tiny_policy(name), replace(CONFIG, start_from=str(folder), **changes)
    return PolicyLearner(policy, config, Processes("no", device=torch.device("cpu")), take_start(policy, config))


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_a_run_begins_with_what_another_ended_with(tuning: Tuning, tmp_path: Path, request: Any) -> None:
    first: Path = request.getfixturevalue("adapter" if tuning == "lora" else "denoiser")
    config = replace(CONFIG, start_from=str(first), tuning=tuning, steps=1, learning_rate=0.0)
    (row,) = tiny_run(replace(config, heldout=(SONG,), heldout_prompts=4), tmp_path)
    ours, theirs = result(tmp_path), result(first)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    tuned = tiny_policy()
    load_tuned(tuned, tmp_path)
    assert not torch.equal(sound(tuned), sound(tiny_policy()))
    assert row[f"heldout {SONG}"] == pytest.approx(row[f"untuned {SONG}"], rel=1e-6)
    origin = json.loads((tmp_path / SETTINGS).read_text())["provenance"]["start_from"]
    assert origin.startswith(f"{tuning}-")


def moved(lora: Lora) -> None:
    """Change the adapters as learning would, a little."""
    generator = torch.Generator().manual_seed(0)
    for parameter in lora.parameters:
        parameter.data += 1e-3 * torch.randn(parameter.shape, generator=generator)


def test_the_reference_is_the_start(adapter: Path) -> None:
    learner, untuned, tuned = begun(adapter), tiny_policy(), tiny_policy()
    load_tuned(tuned, adapter)
    assert isinstance(learner.tuning, Lora)
    assert torch.equal(sound(learner.policy), sound(tuned))
    moved(learner.tuning)
    with learner.reference():
        assert torch.equal(sound(learner.policy), sound(tuned))
    assert not torch.equal(sound(learner.policy), sound(tuned))
    with learner.tuning.switched_off():
        assert torch.equal(sound(learner.policy), sound(untuned))


def test_distance_and_rank_are_of_the_change_from_the_start(adapter: Path) -> None:
    lora = begun(adapter).tuning
    assert isinstance(lora, Lora)
    assert float(lora.distance().detach()) == 0
    assert update_rank(lora) is None
    before = dense(lora)
    moved(lora)
    changes = [after - start for after, start in zip(dense(lora), before, strict=True)]
    assert float(lora.distance().detach()) == pytest.approx(
        sum(float(each.square().sum()) for each in changes), rel=1e-4
    )
    values = [torch.linalg.svdvals(each).square() for each in changes]
    ranks = [float(each.sum() ** 2 / each.square().sum()) for each in values]
    assert update_rank(lora) == pytest.approx(sum(ranks) / len(ranks), rel=1e-3)
    lora.distance().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in lora.parameters)


def dense(lora: Lora) -> list[torch.Tensor]:
    """B A of each adapter, in float64."""
    weights = lora.weights()
    pairs = [(weights[name], weights[name.replace("lora_B", "lora_A")]) for name in weights if "lora_B" in name]
    return [b.detach().double().flatten(1) @ a.detach().double().flatten(1) for b, a in pairs]


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_an_interrupted_run_goes_on_with_the_same_reference(tuning: Tuning, tmp_path: Path, request: Any) -> None:
    first = request.getfixturevalue("adapter" if tuning == "lora" else "denoiser")
    config = replace(CONFIG, start_from=str(first), tuning=tuning, steps=3, ema=0.5, heldout_prompts=4)
    whole, resumed = whole_and_resumed(config, tmp_path)
    assert whole == resumed
    ours, theirs = result(tmp_path / "whole"), result(tmp_path / "halved")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("rslora", [False, True])
def test_an_adapter_of_peft_does_what_it_did(tmp_path: Path, *, rslora: bool) -> None:
    """Its scale is not 1, and becomes part of B: rounding alone differs."""
    policy = tiny_policy()
    settings = LoraConfig(
        r=2, lora_alpha=5, use_rslora=rslora, target_modules=list(policy.lora_targets), init_lora_weights=False
    )
    wrapped = get_peft_model(policy.denoiser, settings)
    wrapped.save_pretrained(str(tmp_path))
    ours, base = begun(tmp_path), sound(tiny_policy())
    wanted = sound(policy)
    assert float((wanted - base).norm()) > 0.1 * float(base.norm())
    torch.testing.assert_close(sound(ours.policy), wanted, rtol=1e-4, atol=1e-4 * float(base.abs().max()))


def test_an_adapter_of_diffusers_does_what_it_did(tmp_path: Path) -> None:
    policy = tiny_policy("ace-step")
    pipeline, denoiser = policy.pipeline, policy.denoiser
    settings = LoraConfig(r=2, lora_alpha=4, target_modules=list(policy.lora_targets), init_lora_weights=False)
    denoiser.add_adapter(settings)  # type: ignore[operator]
    layers = get_peft_model_state_dict(denoiser)
    pipeline.save_lora_weights(
        tmp_path, transformer_lora_layers=layers, transformer_lora_adapter_metadata=settings.to_dict()
    )
    assert (tmp_path / LORA_WEIGHTS).is_file()
    ours, base, wanted = begun(tmp_path, "ace-step"), sound(tiny_policy("ace-step")), sound(policy)
    assert not torch.allclose(wanted, base)
    torch.testing.assert_close(sound(ours.policy), wanted, rtol=1e-4, atol=1e-4 * float(base.abs().max()))
    assert isinstance(ours.tuning, Lora)
    with ours.tuning.switched_off():
        assert torch.equal(sound(ours.policy), base)


def test_a_pipeline_whose_class_loads_no_adapters_says_so(tmp_path: Path, adapter: Path) -> None:
    (tmp_path / LORA_WEIGHTS).write_bytes((adapter / ADAPTER).read_bytes())
    with pytest.raises(ConfigError, match="StableAudioPipeline of diffusers loads no adapters; store it as PEFT does"):
        begun(tmp_path)


def test_a_denoiser_of_another_tool_is_a_start(denoiser: Path) -> None:
    tuned = tiny_policy()
    load_tuned(tuned, denoiser)
    assert torch.equal(sound(begun(denoiser / "denoiser", tuning="all").policy), sound(tuned))


def copy(folder: Path, place: Path, **changes: Any) -> Path:
    """A copy of an adapter, with other settings."""
    place.mkdir()
    for name in (ADAPTER, ADAPTER_CONFIG, SETTINGS, "prompts.json"):
        (place / name).write_bytes((folder / name).read_bytes())
    if changes:
        stored = json.loads((place / ADAPTER_CONFIG).read_text())
        (place / ADAPTER_CONFIG).write_text(json.dumps(stored | changes))
    return place


def refused(config: TrainConfig, out: Path, message: str) -> None:
    with pytest.raises(DragonError, match=message):
        tiny_run(config, out)
    assert not out.exists()


def test_what_is_no_start_is_refused(tmp_path: Path, adapter: Path) -> None:
    empty, unfinished = tmp_path / "empty", tmp_path / "unfinished"
    empty.mkdir()
    unfinished.mkdir()
    (unfinished / CHECKPOINT).touch()
    patterned = copy(adapter, tmp_path / "patterned", alpha_pattern={"to_q": 4})
    other = copy(adapter, tmp_path / "other", peft_type="LOHA")
    elsewhere = copy(adapter, tmp_path / "elsewhere")
    stored = json.loads((elsewhere / SETTINGS).read_text())
    stored["config"]["pipeline"] = "owner/other@v1"
    (elsewhere / SETTINGS).write_text(json.dumps(stored))
    bare = copy(adapter, tmp_path / "bare")
    (bare / ADAPTER_CONFIG).unlink()
    messages = {
        tmp_path / "nowhere": "there is no such folder",
        adapter / ADAPTER: "that is a file; give the folder",
        empty: "holds no adapter_model.safetensors .* give the folder of a finished run",
        unfinished: "no result yet; finish it with dragon train --out",
        patterned: "it has alpha_pattern",
        other: "it has peft_type LOHA",
        elsewhere: "tuned pipeline 'owner/other@v1', not 'embedded'; give --pipeline owner/other@v1",
        bare: ADAPTER_CONFIG,
    }
    for place, message in messages.items():
        refused(replace(CONFIG, start_from=str(place)), tmp_path / "out", message)


def test_another_rank_form_or_layer_is_refused(tmp_path: Path, adapter: Path, denoiser: Path) -> None:
    config = replace(CONFIG, start_from=str(adapter))
    refused(replace(config, lora_rank=3), tmp_path / "out", "has rank 2, not lora_rank = 3; give --lora-rank 2")
    refused(replace(config, tuning="all"), tmp_path / "out", 'tuning = "lora", not "all"')
    refused(replace(config, lora_targets=("to_q",)), tmp_path / "out", "start_from = .*other layers .*--lora-targets")
    refused(replace(CONFIG, start_from=str(denoiser)), tmp_path / "out", 'tuning = "all", not "lora"')


def test_a_folder_belongs_to_one_start_wherever_that_is(tmp_path: Path, adapter: Path) -> None:
    moved_there, out = copy(adapter, tmp_path / "moved"), tmp_path / "out"
    config = replace(CONFIG, start_from=str(adapter), steps=1)
    tiny_run(config, out)
    assert tiny_run(replace(config, start_from=str(moved_there)), out) == []
    with pytest.raises(ConfigError, match=r"holds a run with start_from = '.*', not '' as it is now"):
        tiny_run(replace(config, start_from=""), out)
    copy(adapter, tmp_path / "changed", lora_dropout=0.5)
    with pytest.raises(ConfigError, match=r"holds a run with start_from = '.*', not '.*changed' as it is now"):
        tiny_run(replace(config, start_from=str(tmp_path / "changed")), out)
    tiny_run(replace(CONFIG, steps=1), tmp_path / "plain")
    with pytest.raises(ConfigError, match="holds a run with start_from = '', not '"):
        tiny_run(config, tmp_path / "plain")


def test_the_command_refuses_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["train", "--reward", "vendi:logmel", "--start-from", "nowhere", "--out", "made"]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 2
    assert "start_from = 'nowhere': there is no such folder" in done.stderr
    assert list(tmp_path.iterdir()) == []
