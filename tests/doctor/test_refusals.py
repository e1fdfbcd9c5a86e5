"""Work whose weights are missing is refused at once: before torch is loaded, and before a folder is made."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import torch
from typer.testing import CliRunner

from dragon_rewards.media.audio import write_audio
from dragon_train.cli.app import app

if TYPE_CHECKING:
    from pathlib import Path

    from support.parts import Site

EAR = """
from dragon_rewards import EncoderInfo, Modality, Weights, hookimpl

@hookimpl
def register_encoders(register):
    audio, weights = frozenset({Modality.AUDIO}), Weights("someone/ear", ("model.safetensors",), "ear")
    register(EncoderInfo("ear", audio, 4, 16000, "MIT", "an ear", object, weights=(weights,)))
"""
PIPELINE, REWARD, EMBEDDED = "stable-audio-open", "vendi:ear", "vendi:logmel"
COMMANDS = [
    ("train", "--pipeline", PIPELINE, "--reward", EMBEDDED, "--out", "made"),
    ("train", "--pipeline", "someone/music", "--reward", EMBEDDED, "--out", "made"),
    ("train", "--reward", REWARD, "--out", "made"),
    ("train", "--reward", EMBEDDED, "--heldout", REWARD, "--heldout-prompts", "8", "--out", "made"),
    ("bench", "--rewards", "vendi:clap", "--pipeline", PIPELINE, "--out", "made"),
    ("ablate", "vendi", "--pipeline", PIPELINE, "--out", "made"),
    ("sample", "a jig", "--pipeline", PIPELINE, "--out", "made"),
    ("best-of", "2", "a jig", "--pipeline", PIPELINE, "--reward", EMBEDDED, "--out", "made"),
    ("best-of", "2", "a jig", "--reward", REWARD, "--out", "made"),
    ("score", REWARD, "../songs", "--csv", "made/scores.csv"),
    ("rank", "../songs", "--reward", REWARD, "--csv", "made/ranks.csv"),
    ("exemplars", "add", "mine", "../songs", "--encoder", "ear"),
    ("serve", "--encoders", "ear"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_missing_weights_are_refused_before_anything_is_made(
    command: tuple[str, ...], site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("dragon-reward-ear", EAR)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_audio(tmp_path / "songs" / "a.wav", torch.rand(16_000), 16_000)
    started = time.process_time()  # whatever else the machine does
    result = CliRunner().invoke(app, command)
    assert command[0] != "train" or time.process_time() - started < 2
    assert result.exit_code == 2, result.output
    assert "which are not on this machine" in result.stderr
    assert "run `hf download " in result.stderr
    assert ("DRAGON_WEIGHTS" in result.stderr) == ("encoder 'ear'" in result.stderr)
    assert not list((tmp_path / "here").iterdir())
    assert not (tmp_path / "sets").exists()


def test_a_licence_that_has_to_be_accepted_first_is_named(tmp_path: Path) -> None:
    arguments = ["train", "--pipeline", PIPELINE, "--reward", EMBEDDED, "--out", str(tmp_path / "run")]
    said = CliRunner().invoke(app, arguments).stderr
    assert "accept its licence at https://huggingface.co/stabilityai/stable-audio-open-1.0, then run" in said
