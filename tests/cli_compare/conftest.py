"""The registry of real small parts that `dragon score` is tested with."""

from __future__ import annotations

import pytest
from support.parts import TwoTower
from support.registries import encoder

import dragon_rewards.rewards
import dragon_train.cli.verbs.compare

__all__ = ["encoder", "suite_encoder"]


@pytest.fixture
def suite_encoder(encoder: TwoTower, monkeypatch: pytest.MonkeyPatch) -> TwoTower:
    """The same registry where the verb looks for the rewards of a suite."""
    monkeypatch.setattr(dragon_train.cli.verbs.compare, "load_registry", vars(dragon_rewards.rewards)["load_registry"])
    return encoder
