"""Fixtures that a conftest imports: a folder of the user's exemplar sets for each test, and the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dragon_rewards.registry import load_registry
from support import cli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result

    from support.cli import Dragon, Refused, Rows


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the sets of the test are; heads are kept and embeddings are cached beside it."""
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    monkeypatch.setenv("DRAGON_HEADS", str(tmp_path / "heads"))
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
        return cli.dragon(*arguments)

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
