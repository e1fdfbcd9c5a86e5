"""A hub's cache of its own, and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from registry.conftest import site
from typer.testing import CliRunner

from dragon_train.cli.app import app

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["site"]

Doctor = Callable[[], dict[str, list[dict[str, Any]]]]


@pytest.fixture(name="hub", autouse=True)
def hub_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and nothing else where weights are looked for."""
    monkeypatch.delenv("DRAGON_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def doctor() -> Doctor:
    """The sections of `dragon doctor --json`, which never fails."""

    def run() -> dict[str, list[dict[str, Any]]]:
        result = CliRunner().invoke(app, ["doctor", "--json"])
        assert result.exit_code == 0, (result.output, result.exception)
        sections: dict[str, list[dict[str, Any]]] = json.loads(result.stdout)
        return sections

    return run


def cached(hub: Path, repository: str, *files: str) -> Path:
    """A snapshot in the hub's cache; returns its folder."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text("abc", encoding="utf-8")
    for name in files:
        path = folder / "snapshots" / "abc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}", encoding="utf-8")
    return folder / "snapshots" / "abc"
