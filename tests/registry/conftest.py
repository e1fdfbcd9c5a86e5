"""A registry of real small parts, and a folder to install plugins into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.parts import Projection, TwoTower, encoder_info, make_set
from support.registries import site

from dragon_rewards.builtin import REDUCTIONS
from dragon_rewards.plugins import PluginRecord
from dragon_rewards.protocols import Modality
from dragon_rewards.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["registry", "site"]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Encoders `ear` (audio only) and `two` (both), an audio set `tunes`, a text set `words`, built-in reductions."""
    encoders = [encoder_info("ear", Projection), encoder_info("two", TwoTower)]
    sets = [
        make_set(tmp_path / "tunes", Modality.AUDIO, {"ear": Projection(), "two": TwoTower()}),
        make_set(tmp_path / "words", Modality.TEXT, {}),
    ]
    owner = PluginRecord("tests", "dragon-tests", "1.0")
    owners = {("register_encoders", info.name): owner for info in encoders}
    reductions = {info.name: info for info in REDUCTIONS}
    owners |= {("register_reductions", name): owner for name in reductions}
    return Registry(
        {info.name: info for info in encoders}, {info.name: info for info in sets}, reductions, owners, (owner,), ()
    )
