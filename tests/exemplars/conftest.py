"""A folder of sets for each test, a folder of music, and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.sounds import write_tone
from typer.testing import CliRunner

from dragon_rewards.registry import load_registry
from dragon_train.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer.testing import Result

Dragon = Callable[..., "Result"]
Rows = Callable[..., list[dict[str, Any]]]
Refused = Callable[..., str]


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the sets of the test are; embeddings are cached beside it."""
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    monkeypatch.setenv("DRAGON_CACHE", str(tmp_path / "cache"))
    load_registry.cache_clear()
    yield tmp_path / "sets"
    load_registry.cache_clear()


@pytest.fixture
def dragon(sets: Path) -> Dragon:
    """Runs the command line as a new process would, without one."""
    assert sets.name == "sets"

    def run(*arguments: object) -> Result:
        load_registry.cache_clear()
        return CliRunner().invoke(app, list(map(str, arguments)))

    return run


@pytest.fixture
def rows(dragon: Dragon) -> Rows:
    """What a command prints as JSON."""

    def run(*arguments: object) -> list[dict[str, Any]]:
        result = dragon(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        printed: list[dict[str, Any]] = json.loads(result.stdout)
        return printed

    return run


@pytest.fixture
def refused(dragon: Dragon) -> Refused:
    """What a refusal says."""

    def run(*arguments: object) -> str:
        result = dragon(*arguments)
        assert result.exit_code == 2, (result.stdout, result.stderr, result.exception)
        return str(result.stderr)

    return run


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Four files of four formats, rates and lengths, in two folders."""
    folder = tmp_path / "music"
    write_tone(folder / "a.wav", 2.0, 16_000, seed=1)
    write_tone(folder / "b.flac", 3.5, 44_100, seed=2, channels=2)
    write_tone(folder / "deep" / "c.OGG", 2.5, 22_050, seed=3)
    write_tone(folder / "deep" / "d.mp3", 3.0, 44_100, seed=4)
    return folder
