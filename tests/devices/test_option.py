"""`--device`: of every verb that computes, refused before anything is made where there is no such device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import typer.main
from typer.testing import CliRunner

from dragon_rewards.media.audio import write_audio
from dragon_rewards.provenance import provenance
from dragon_train.cli.app import app
from dragon_train.config import TrainConfig
from dragon_train.loop.run_folder import Claim

PLACED = (
    *(("train",), ("bench",), ("ablate",), ("sample",), ("best-of",), ("report",), ("listen", "serve")),
    *(("listen", "page"), ("score",), ("rank",), ("compare",), ("exemplars", "add"), ("exemplars", "facets")),
    ("exemplars", "statistics"),
    ("exemplars", "judge"),
    ("serve",),
    ("fit-ratings",),
    ("fit-preferences",),
    ("rate-next",),
    ("blend",),
    ("exam",),
)
REWARD, PROMPT = "vendi:logmel", "a jig"
COMMANDS = [
    ("train", "--reward", REWARD, "--out", "made"),
    ("bench", "--rewards", "vendi:clap", "--out", "made"),
    ("ablate", "vendi", "--out", "made"),
    ("sample", PROMPT, "--out", "made"),
    ("best-of", "2", PROMPT, PROMPT, "--reward", REWARD, "--out", "made"),
    ("report", "../run", "--out", "made/page.html"),
    ("score", REWARD, "../songs", "--csv", "made/scores.csv"),
    ("rank", "../songs", "--reward", REWARD, "--csv", "made/ranks.csv"),
    ("compare", "../songs", "../songs", "--rewards", REWARD, "--csv", "made/compared.csv"),
    ("exemplars", "add", "mine", "../songs", "--encoder", "logmel"),
    ("exemplars", "facets", "mine", "--encoder", "logmel"),
    ("fit-ratings", "../rated/mine.csv", "--encoder", "logmel"),
    ("fit-preferences", "../rated/votes.csv", "--encoder", "logmel"),
    ("exemplars", "judge", "mine", "--encoder", "logmel"),
    ("serve", "--encoders", "logmel"),
]


def options(path: tuple[str, ...]) -> set[str]:
    command: Any = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    return {name for parameter in command.params for name in parameter.opts}


@pytest.mark.parametrize("path", PLACED, ids=" ".join)
def test_every_verb_that_computes_takes_a_device(path: tuple[str, ...]) -> None:
    assert "--device" in options(path)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_device_that_is_not_here_is_refused_before_anything_is_made(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_audio(tmp_path / "songs" / "a.wav", torch.rand(16_000), 16_000)
    Claim(TrainConfig(REWARD), [PROMPT], []).write(tmp_path / "run", provenance())
    (tmp_path / "rated").mkdir()
    for name in range(10):
        (tmp_path / "rated" / f"{name}.wav").touch()
    ratings = "".join(f"{name}.wav,{name}\n" for name in range(10))
    (tmp_path / "rated" / "mine.csv").write_text(f"path,rating\n{ratings}", encoding="utf-8")
    votes = "".join(f"{name}.wav,{(name + 1) % 10}.wav,a\n" for name in range(10))
    (tmp_path / "rated" / "votes.csv").write_text(f"path_a,path_b,preferred\n{votes}", encoding="utf-8")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("DRAGON_EXEMPLARS", "sets")
    monkeypatch.setenv("DRAGON_HEADS", "heads")
    result = CliRunner().invoke(app, [*command, "--device", "cuda:99"])
    assert result.exit_code == 2, result.output
    assert "device 'cuda:99' is not on this machine; choose one of cpu" in result.stderr
    assert not list((tmp_path / "here").iterdir())


def test_a_device_for_clips_that_are_there_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["listen", "page", "a", "b", "--out", str(tmp_path / "x"), "--device", "cpu"])
    assert result.exit_code == 2
    assert "--device is for a run" in result.stderr


def test_one_device_for_several_processes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = CliRunner().invoke(app, ["train", "--reward", REWARD, "--out", str(tmp_path / "run"), "--device", "cpu"])
    assert result.exit_code == 2
    assert "accelerate gives each process its own; leave it out" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_precision_that_the_device_cannot_do_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["train", "--reward", REWARD, "--precision", "fp16", "--out", str(out), "--device", "cpu"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert 'precision = "fp16": cpu cannot train in it; choose precision = "bf16" or precision = "no"' in result.stderr
    assert not out.exists()
