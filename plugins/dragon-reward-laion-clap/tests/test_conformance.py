"""What every encoder promises."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import save_weights

from dragon_rewards.testing import conformance

if TYPE_CHECKING:
    from collections.abc import Iterator

test_conformance = conformance("dragon-reward-laion-clap")


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A checkpoint of the smallest of laion_clap's audio towers; the released size is compared with laion_clap."""
    folder: Path = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dragon_reward_laion_clap.NETWORK", "HTSAT-tiny")
        patch.setenv("DRAGON_WEIGHTS", str(folder))
        save_weights(folder / "laion-clap")
        yield
