"""A registry of real small parts behind `dragon score`, whose encoders count their passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.parts import TwoTower, encoder_info, make_set

import dragon_rewards.rewards
from dragon_rewards.builtin import REDUCTIONS
from dragon_rewards.plugins import PluginRecord
from dragon_rewards.protocols import Modality
from dragon_rewards.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TwoTower:
    """The encoder `two` (8 kHz, audio and text) of a registry with an audio set `tunes` and all reductions."""
    info, tunes = encoder_info("two", TwoTower), make_set(tmp_path / "tunes", Modality.AUDIO, {"two": TwoTower()})
    owner = PluginRecord("tests", "dragon-tests", "1.0")
    reductions = {reduction.name: reduction for reduction in REDUCTIONS}
    owners = {("register_encoders", "two"): owner} | {("register_reductions", name): owner for name in reductions}
    registry = Registry({"two": info}, {"tunes": tunes}, reductions, owners, (owner,), ())
    monkeypatch.setattr(dragon_rewards.rewards, "load_registry", lambda: registry)
    built = registry.build_encoder("two")
    assert isinstance(built, TwoTower)
    return built
