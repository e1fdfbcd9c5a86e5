"""A registry of real small parts, and a folder to install plugins into."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from support.parts import Projection, Site, TwoTower, encoder_info, make_set

from dragon_rewards.builtin import REDUCTIONS
from dragon_rewards.plugins import PluginRecord
from dragon_rewards.protocols import Modality
from dragon_rewards.registry import Registry, load_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
