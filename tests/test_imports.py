"""Commands import what they need: help and lists nothing heavy, scoring nothing of diffusion; and in one direction."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import typer.main

from dragon_train.cli.app import app

ROOT = Path(__file__).parents[1]

HEAVY = {"torch", "numpy", "scipy", "pandas", "pyarrow", "diffusers", "transformers", "peft", "soundfile", "soxr"}
DIFFUSION = {"diffusers", "peft", "accelerate"}  # only the trainer and encoders that are made of them need these
RUN = """
import sys
from dragon_train.cli import main
try:
    main()
finally:
    imported = {unwanted} & set(sys.modules)
    assert not imported, imported
"""
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The arguments that reach each command, the root included."""
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from verbs(child, (*path, name))


def light_commands() -> list[tuple[str, ...]]:
    """The help of every verb, every list, and the plugins."""
    paths = list(verbs(typer.main.get_command(app)))
    lists = [path for path in paths if path[:1] == ("list",) and len(path) > 1]
    return [*((*path, "--help") for path in paths), *lists, ("plugins",)]


def run(arguments: tuple[str, ...], unwanted: set[str]) -> None:
    """Run a command in a process of its own, which fails if it imports any of these."""
    command = [sys.executable, "-c", RUN.format(unwanted=unwanted), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("arguments", light_commands(), ids=" ".join)
def test_nothing_heavy_is_imported(arguments: tuple[str, ...]) -> None:
    run(arguments, HEAVY)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two seconds of noise, three times: ranking by a reward of sets takes so many."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(3):
        noise = torch.randn(32_000, generator=torch.Generator().manual_seed(number))
        soundfile.write(folder / f"{number}.wav", 0.1 * noise.numpy(), 16_000)
    return str(folder)


@pytest.mark.parametrize("reward", ["vendi:logmel", "per-song-fad:logmel@airs"])
def test_scoring_imports_nothing_of_diffusion(clips: str, reward: str) -> None:
    run(("score", reward, clips), DIFFUSION)


def test_ranking_imports_nothing_of_diffusion(clips: str) -> None:
    run(("rank", clips, "--reward", "vendi:logmel"), DIFFUSION)


def test_comparing_imports_nothing_of_diffusion(clips: str) -> None:
    run(("compare", clips, clips, "--rewards", "vendi:logmel"), DIFFUSION)


def test_every_verb_is_covered() -> None:
    covered = {arguments[0] for arguments in light_commands()}
    assert {"list", "plugins", "score", "sample", "train", "bench"} <= covered
    assert ("list", "pipelines") in light_commands()


def test_imports_go_in_one_direction() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
