"""Fixtures that a conftest imports: a folder to install plugins into, and a registry of real small parts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import dragon_rewards.rewards
from dragon_rewards.builtin import REDUCTIONS
from dragon_rewards.plugins import PluginRecord
from dragon_rewards.protocols import Modality
from dragon_rewards.registry import Registry, load_registry
from support.parts import Site, TwoTower, encoder_info, make_set

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty site; what is installed in it is found by importlib and forgotten after the test."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv("DRAGON_REWARDS_PLUGINS", raising=False)
    load_registry.cache_clear()
    yield Site(folder)
    load_registry.cache_clear()
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TwoTower:
    """The encoder `two` (8 kHz, audio and text) of a registry with an audio set `tunes` and all reductions.

    Rewards are composed of that registry, and the encoder counts its passes.
    """
    info, tunes = encoder_info("two", TwoTower), make_set(tmp_path / "tunes", Modality.AUDIO, {"two": TwoTower()})
    owner = PluginRecord("tests", "dragon-tests", "1.0")
    reductions = {reduction.name: reduction for reduction in REDUCTIONS}
    owners = {("register_encoders", "two"): owner} | {("register_reductions", name): owner for name in reductions}
    registry = Registry({"two": info}, {"tunes": tunes}, reductions, owners, (owner,), ())
    monkeypatch.setattr(dragon_rewards.rewards, "load_registry", lambda: registry)
    built = registry.build_encoder("two")
    assert isinstance(built, TwoTower)
    return built
