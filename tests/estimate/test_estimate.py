"""The estimate beside the step itself, and what it says of runs that cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from support.pipelines import BUILDERS, folder_of

from dragon_rewards.errors import ConfigError
from dragon_train.config import TrainConfig
from dragon_train.embedded.prompts import prompts
from dragon_train.estimate import fit, phases
from dragon_train.estimate.counting import ATTENTION_BACKWARD, Count
from dragon_train.estimate.estimate import Estimate, capacity, estimate
from dragon_train.estimate.hollow import quiet
from dragon_train.estimate.measure import STATUS, measured_apart
from dragon_train.estimate.phases import StepCount, count_step
from dragon_train.loop.processes import Processes
from dragon_train.objectives.configured import completed
from dragon_train.registry import load_train_registry

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SMALL = TrainConfig("vendi:logmel", prompts_per_step=4, demonstration_steps=2, epochs=1)
EMBEDDED = TrainConfig("vendi:clap", prompts_per_step=8, demonstration_steps=2, epochs=1)
linux = pytest.mark.skipif(not STATUS.exists(), reason="memory of a process is read from Linux's /proc")


def estimated(config: TrainConfig, *, cuda: bool = False) -> Estimate:
    info = load_train_registry().pipeline(config.pipeline)
    return estimate(info, completed(config), None, cuda=cuda)


def config_of(name: str, saved: Path, **settings: Any) -> TrainConfig:
    if name == "embedded":
        return replace(EMBEDDED, **settings)
    return replace(SMALL, pipeline=str(folder_of(name, saved)), **settings)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["embedded", *sorted(BUILDERS)])
def test_every_pipeline_is_counted_without_its_weights(name: str, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(name, saved)

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("weights were read")

    monkeypatch.setattr("diffusers.ModelMixin.from_pretrained", refuse)
    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", refuse)
    found = estimated(config)
    assert set(found.memory) == {"sampling", "decoding", "encoding", "learning"}
    assert not found.uncounted
    assert all(size > sum(found.held.values()) - found.held["gradients"] for size in found.memory.values())
    assert found.held["moments"] == 2 * found.held["adapters"]


@pytest.mark.slow
@linux
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("embedded", {}),
        ("embedded", {"tuning": "all", "gradient_checkpointing": True, "microbatch": 2}),
        ("stable-audio-3", {"guidance": 3.0}),
        ("audioldm", {}),
        ("masked-audio", {}),
    ],
)
def test_memory_is_within_15_percent_of_what_a_step_has(name: str, settings: dict[str, Any], saved: Path) -> None:
    """What Python and its libraries have is measured; what the run has beside it is within 80 MB of the estimate.

    Code that is loaded on first use, and what of a library's is not a tensor, is some 50 MB.
    """
    config = config_of(name, saved, **settings)
    found, step = estimated(config), measured_apart(config, prompts("train"), CPU)
    assert step.base + found.peak == pytest.approx(step.peak, rel=0.15)
    for phase, peak in step.peaks.items():
        if phase in found.memory:
            assert 0 <= peak - step.base - found.memory[phase] < 80e6, phase
    assert set(step.seconds) >= {"sampling", "decoding", "encoding", "learning"}
    assert step.resident > step.base


def test_settings_change_what_they_are_to_change(saved: Path) -> None:
    config = config_of("stable-audio", saved)
    plain = estimated(config)
    checkpointed = estimated(replace(config, gradient_checkpointing=True))
    assert checkpointed.memory["sampling"] == plain.memory["sampling"]
    fewer = estimated(replace(config, microbatch=1))
    assert fewer.memory["learning"] < plain.memory["learning"]
    half = estimated(replace(config, precision="bf16"))
    assert half.held["transformer"] * 2 == plain.held["transformer"]
    assert half.held["vae"] == plain.held["vae"]
    every = estimated(replace(config, tuning="all"))
    assert every.held["frozen copy"] >= every.held["gradients"] > plain.held["gradients"]
    average = estimated(replace(config, ema=0.9))
    assert average.held["average"] == average.held["adapters"]
    single = estimated(replace(config, sampling_batch=1))
    assert single.memory["decoding"] < plain.memory["decoding"]


@pytest.mark.parametrize(("precision", "cuda"), [("no", False), ("bf16", False), ("bf16", True)])
def test_checkpointing_saves_what_autograd_keeps(precision: Literal["no", "bf16"], *, cuda: bool) -> None:
    """Autocast, as a card's too, is the same when the forward pass is computed again."""
    config = replace(EMBEDDED, prompts_per_step=2, precision=precision)
    plain, checkpointed = (
        estimated(replace(config, gradient_checkpointing=chosen), cuda=cuda) for chosen in (False, True)
    )
    assert checkpointed.memory["learning"] < plain.memory["learning"]


@pytest.mark.parametrize(
    ("settings", "cuda", "fused"),
    [
        ({}, False, False),
        ({"gradient_checkpointing": True}, False, True),
        ({"precision": "no"}, False, True),
        ({}, True, True),
    ],
)
def test_attention_is_counted_as_a_run_computes_it(settings: dict[str, Any], *, cuda: bool, fused: bool) -> None:
    """In bf16 a CPU computes the denoiser's unfused, where nothing is computed again; a card never does."""
    learnt = counted_in_bf16(cuda=cuda, **settings).learning.once
    assert (ATTENTION_BACKWARD in {cost.kind for cost in learnt.costs}) == fused


def test_the_matrices_of_unfused_attention_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 6 layers keeps one of 81 x 81 for each of 5 heads of 4 clips: those of 2 pairs."""
    unfused = counted_in_bf16()

    def processes(precision: str, device: torch.device, *, recomputes: bool) -> Processes:  # noqa: ARG001
        return Processes(precision, device=device)

    monkeypatch.setattr(phases, "Processes", processes)
    matrices = 6 * 5 * 4 * 81 * 81 * torch.bfloat16.itemsize
    assert unfused.learning.once.peak >= counted_in_bf16().learning.once.peak + matrices


def counted_in_bf16(*, cuda: bool = False, **settings: Any) -> StepCount:
    config = completed(replace(EMBEDDED, **{"prompts_per_step": 2, "precision": "bf16", **settings}))
    with quiet():
        return count_step(load_train_registry().pipeline("embedded"), config, cuda=cuda)


@pytest.mark.parametrize("objective", list(load_train_registry().objectives))
def test_every_objective_is_counted(objective: str, saved: Path) -> None:
    found = estimated(config_of("stable-audio", saved, objective=objective, demonstration_steps=3))
    assert found.memory["learning"] > sum(found.held.values())


def test_a_step_toward_latents_is_counted_without_decoding() -> None:
    """The embedded pipeline's own autoencoder; on held-out prompts its clips are heard."""
    latents, heard = ("per-song-fad:vae@airs", "per-song-fad:logmel@airs")
    info, config = load_train_registry().pipeline("embedded"), completed(replace(EMBEDDED, reward=latents))

    def counted(**settings: Any) -> StepCount:
        with quiet():
            return count_step(info, replace(config, **settings), cuda=False)

    step, mixed = counted(), counted(reward=f"{latents} + {heard}")
    assert step.decoding == step.encoding == Count()
    assert step.audio == 0
    assert mixed.decoding.costs
    constrained = counted(at_least=(heard,))
    assert constrained.decoding == mixed.decoding == counted(reward=heard).decoding
    assert constrained.encoding == mixed.encoding == counted(reward=heard).encoding
    compared = counted(heldout=(heard,), heldout_prompts=4)
    assert not compared.decoding.costs
    assert not compared.encoding.costs
    assert compared.decoding.peak == mixed.decoding.peak
    assert compared.encoding.peak > mixed.encoding.peak  # both encoders hear them
    direct, decoded = (counted(objective="direct", options={}, reward=reward) for reward in (latents, heard))
    assert direct.learning.step.flops < decoded.learning.step.flops
    assert direct.learning.step.peak < decoded.learning.step.peak


@pytest.mark.parametrize(
    ("objective", "options", "clips"),
    [
        ("dpo", {}, 8),
        ("nft", {"group": 3, "advantage": "std", "best_of": 5}, 12 + 40),
        ("raft", {"samples": 6, "pilot": 2}, 24),
        ("raft", {"samples": 6, "pilot": 2, "gradient_norms": True}, 24),
    ],
)
def test_clips_are_counted_that_an_objective_asks_for_and_gradients_that_it_measures(
    objective: str, options: dict[str, Any], clips: int, saved: Path
) -> None:
    """Of the pilot's eight clips two are accepted; an update on a clip takes a forward pass and a longer way back."""
    config = config_of("stable-audio", saved, objective=objective, options=options, microbatch=1)
    config = completed(replace(config, reward="per-song-fad:logmel@airs"))
    with quiet():
        step = count_step(load_train_registry().pipeline(config.pipeline), config, cuda=False)
    assert step.clips == clips
    if options.get("gradient_norms"):
        assert 0.3 < step.learning.norms.flops / (2 * step.learning.once.flops) < 1
    else:
        assert step.learning.norms.flops == 0


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        ("sampling_batch", "sampling_batch = 1"),
        ("microbatch", "microbatch = 1"),
        ("tuning", 'tuning = "lora"'),
        ("nothing", "with the least settings it takes"),
    ],
)
def test_a_run_that_cannot_fit_is_refused_with_what_would(
    room: str, expected: str, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for what is expected, and not for what is tried before it."""
    config = config_of("stable-audio", saved, tuning="all", prompts_per_step=2, sampling_batch=2)
    least = replace(config, microbatch=1, sampling_batch=1)
    rooms = {
        "sampling_batch": replace(config, sampling_batch=1),
        "microbatch": least,
        "tuning": replace(least, gradient_checkpointing=True, precision="bf16", tuning="lora"),
    }
    size = estimated(rooms[room]).peak if room in rooms else 1000
    info = load_train_registry().pipeline(config.pipeline)
    monkeypatch.setattr(fit, "capacity", lambda _: size)
    with pytest.raises(ConfigError, match=r"the run takes .* GB in \w+, and cpu has .* GB") as caught:
        fit.check_fits(info, completed(config), CPU)
    assert expected in str(caught.value)


@pytest.mark.parametrize("room", [10**12, None])
def test_a_run_that_fits_or_whose_device_does_not_tell_may_try(
    room: int | None, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of("stable-audio", saved)
    monkeypatch.setattr(fit, "capacity", lambda _: room)
    fit.check_fits(load_train_registry().pipeline(config.pipeline), completed(config), CPU)


def test_the_cpu_s_memory_is_known() -> None:
    room = capacity(CPU)
    assert room is not None
    assert room > 1e9


def dragon(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dragon_train.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


LITTLE = ("--prompts-per-step", "2", "--demonstration-steps", "2")


def test_the_command_prints_tables_and_json_and_makes_nothing(tmp_path: Path) -> None:
    done = dragon("estimate", *LITTLE, "--card", "rtx-4090", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "learning" in done.stdout
    assert "which fits into the 24 GB of NVIDIA GeForce RTX 4090" in done.stdout
    assert "assumed to be reached: matmul 50%" in done.stdout
    (tmp_path / "run.toml").write_text('reward = "vendi:clap"\nprompts_per_step = 2\n', encoding="utf-8")
    done = dragon("estimate", "run.toml", "--card", "h100", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert found["fits"] is True
    assert found["peak_bytes"] == max(phase["bytes"] for phase in found["phases"].values())
    assert found["step_seconds"] == pytest.approx(sum(phase["seconds"] for phase in found["phases"].values()))
    assert found["held_bytes"]["encoder clap"] > 1e6
    assert found["measured"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]


@pytest.mark.slow
@linux
def test_a_step_is_measured_beside_it(tmp_path: Path) -> None:
    done = dragon("estimate", *LITTLE, "--device", "cpu", "--measure", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "measured gb" in done.stdout
    assert "Python and its libraries" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--card", "h1000"], "unknown card 'h1000'; did you mean h100"),
        (["--card", "h100", "--device", "cpu"], "leave out --device and --measure"),
        (["--pipeline", "none/such"], "none/such"),
        (["--precision", "fp8"], "precision = 'fp8': must be bf16 or fp16 or no"),
        (["--device", "cuda:7"], "cuda:7"),
    ],
)
def test_bad_input_is_refused_by_name(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = dragon("estimate", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_training_refuses_what_cannot_fit_before_folders_are_made(tmp_path: Path) -> None:
    program = (
        "from dragon_train.estimate import fit; fit.capacity = lambda device: 65 * 10**6; "
        "from dragon_train.cli import main; main()"
    )
    command = [sys.executable, "-c", program, "train", "--reward", "vendi:clap", *LITTLE]
    done = subprocess.run([*command, "--device", "cpu"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "it would fit" in done.stderr
    assert "with microbatch = 1" in done.stderr
    assert not list(tmp_path.iterdir())
