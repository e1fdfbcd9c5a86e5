"""A hub's cache of its own, and the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support.cli import dragon
from support.registries import site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["doctor", "hub_of_its_own", "site"]


@pytest.fixture(name="hub", autouse=True)
def hub_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and nothing else where weights are looked for."""
    monkeypatch.delenv("DRAGON_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    monkeypatch.setenv("DRAGON_HEADS", str(tmp_path / "heads"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def doctor() -> Callable[[], dict[str, list[dict[str, Any]]]]:
    """The sections of `dragon doctor --json`, which never fails."""

    def run() -> dict[str, list[dict[str, Any]]]:
        result = dragon("doctor", "--json")
        assert result.exit_code == 0, (result.output, result.exception)
        sections: dict[str, list[dict[str, Any]]] = json.loads(result.stdout)
        return sections

    return run
