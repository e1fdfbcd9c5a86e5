"""Whole runs on the second device: every objective, adapter and setting, with the figures that the CPU gives."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from support.pipelines import BUILDERS
from support.tiny import CONFIG, tiny_policy, tiny_run

from dragon_rewards.embedded.autoencoder import SpectralAutoencoder, VaeEncoder
from dragon_rewards.errors import DragonError
from dragon_train.config import Precision, Tuning
from dragon_train.embedded.pipeline import load_policy
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")

SETTINGS = {
    "dpo": CONFIG,
    "kto, unpaired": replace(CONFIG, objective="kto", pairing="unpaired", reward="clap-score:clap"),
    "raft": replace(CONFIG, objective="raft", reward="per-song-fad:clap@airs"),
    "direct": replace(CONFIG, objective="direct", reward="dataset-fad:vae@airs"),
    "order": replace(CONFIG, objective="order", options={"rule": "front"}, reward="vendi:clap + clap-score:clap"),
    "dno": replace(CONFIG, objective="dno", options={"rounds": 2}),
    "nft": replace(CONFIG, objective="nft", options={"group": 3, "kl": 0.1}),
    "grpo": replace(CONFIG, objective="grpo", demonstration_steps=3, options={"group": 3, "kl": 0.1}),
    "prdp": replace(CONFIG, objective="prdp", options={"group": 3, "path": "trajectory"}),
    "a mixture, all weights": replace(CONFIG, reward="vendi:clap + 0.5 * per-song-fad:logmel@airs", tuning="all"),
    "a constraint": replace(CONFIG, reward="dataset-fad:clap@airs-captions", at_least=("vendi:chroma",)),
    "a pool": replace(CONFIG, reward="dataset-fad:chroma@tunebook", pool=1, keep=0.5),
    "bf16": replace(CONFIG, precision="bf16", steps=1),  # a second has weights that Adam moved by the signs of 8 bits
    "an average": replace(CONFIG, ema=0.5),
    "microbatches": replace(CONFIG, microbatch=1, gradient_checkpointing=True),
    "a comparison": replace(CONFIG, heldout=("clap-score:clap",), heldout_prompts=4, patience=2),
}


# A CPU resamples by soxr, with gradient by a sinc in float32, others by one in float64; bf16 keeps 8 bits.
CLOSE = {"a mixture, all weights": 5e-2, "kto, unpaired": 1e-2, "direct": 1e-2, "bf16": 5e-2, "order": 1e-2}
ADAPTERS = [name for name in BUILDERS if name != "stable-audio"]  # that one is every other test's

CHECKPOINTED = {"stable-audio-3", "ace-step", "audioldm", "musicldm"}  # diffusers can do it for these


def figures(row: dict[str, float]) -> dict[str, float]:
    """Of a step, but for its seconds."""
    return {key: value for key, value in row.items() if not key.endswith("_s")}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_has_the_figures_of_the_cpu(tmp_path: Path, second: torch.device, name: str) -> None:
    expected = tiny_run(SETTINGS[name], tmp_path / "cpu")
    found = tiny_run(SETTINGS[name], tmp_path / "second", device=second)
    for row, wanted in zip(found, expected, strict=True):
        assert figures(row) == pytest.approx(figures(wanted), rel=CLOSE.get(name, 1e-3), abs=1e-4)


def test_latents_are_read_there(tmp_path: Path, second: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever weights ship; nothing is decoded, and the figures are the CPU's."""
    monkeypatch.setattr(VaeEncoder, "keeps_latents", True)
    monkeypatch.delattr(SpectralAutoencoder, "decode")
    config = replace(CONFIG, reward="per-song-fad:vae@airs", objective="direct", steps=1)
    [expected] = tiny_run(config, tmp_path / "cpu", load_policy())
    [found] = tiny_run(config, tmp_path / "second", load_policy(), device=second)
    assert figures(found) == pytest.approx(figures(expected), rel=1e-3, abs=1e-4)


@pytest.mark.pairwise(
    name=ADAPTERS,
    objective=list(load_train_registry().objectives),
    tuning=["lora", "all"],
    precision=["no", "bf16"],
)
def test_every_adapter_learns_there(
    tmp_path: Path, second: torch.device, name: str, objective: str, tuning: Tuning, precision: Precision
) -> None:
    chosen = replace(CONFIG, objective=objective, tuning=tuning, precision=precision)
    config = replace(chosen, steps=1, prompts_per_step=2, demonstration_steps=3)
    policy = tiny_policy(name)
    if (name, objective) == ("masked-audio", "grpo"):
        with pytest.raises(DragonError, match="no Gaussian steps"):
            tiny_run(config, tmp_path, policy, device=second)
        return
    (row,) = tiny_run(config, tmp_path, policy, device=second)
    assert {tensor.device for tensor in policy.denoiser.parameters()} == {second}
    assert row["gradient_norm"] > 0


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_resumes_there_with_all_settings_at_once(tmp_path: Path, second: torch.device, name: str) -> None:
    config = replace(
        CONFIG,
        reward="vendi:logmel + 0.5 * dataset-fad:chroma@airs",
        at_least=("vendi:chroma",),
        ema=0.5,
        microbatch=1,
        pool=1,
        prompts_per_step=2,
        heldout=("per-song-fad:logmel@airs",),
        heldout_prompts=2,
        gradient_checkpointing=name in CHECKPOINTED,
    )

    def stop(_: dict[str, float]) -> None:
        raise KeyboardInterrupt

    whole = tiny_run(config, tmp_path / "whole", tiny_policy(name), device=second)
    with pytest.raises(KeyboardInterrupt):
        tiny_run(config, tmp_path / "halved", tiny_policy(name), stop, second)
    (row,) = tiny_run(config, tmp_path / "halved", tiny_policy(name), device=second)
    assert figures(row) == figures(whole[1])


def test_a_run_resumes_there_and_elsewhere(tmp_path: Path, second: torch.device) -> None:
    config = replace(CONFIG, steps=3, ema=0.5, pool=1, at_least=("vendi:chroma",))

    def stop(row: dict[str, float]) -> None:
        if row["step"] == 1:
            raise KeyboardInterrupt

    whole = tiny_run(config, tmp_path / "whole", device=second)
    for name, close in (("second:0", 0.0), ("second:1", 1e-4), ("cpu", 1e-2)):
        with pytest.raises(KeyboardInterrupt):
            tiny_run(config, tmp_path / name, on_step=stop, device=second)
        rows = tiny_run(config, tmp_path / name, device=torch.device(name))
        for row, wanted in zip(rows, whole[1:], strict=True):
            assert figures(row) == pytest.approx(figures(wanted), rel=close, abs=close)


def test_a_run_learns_where_there_is_no_float64(tmp_path: Path, no_float64: torch.device) -> None:
    config = replace(CONFIG, reward="dataset-fad:clap@airs", heldout=("clap-score:clap",), heldout_prompts=4)
    expected = tiny_run(config, tmp_path / "cpu")
    found = tiny_run(config, tmp_path / "second", device=no_float64)
    assert figures(found[-1]) == pytest.approx(figures(expected[-1]), rel=1e-2, abs=1e-4)
