"""All that dragon-rewards asks of a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import SMALL, random_model, write

from dragon_rewards import load_registry
from dragon_rewards.testing import conformance

if TYPE_CHECKING:
    from collections.abc import Iterator

# A frame per 1280 samples, from 1360: a quarter of the released model's frames, for thirteen encoders 768 wide; and
# still one in the 100 ms of the check of short input.
COARSE = SMALL | {"conv_kernel": [10, 3, 3, 3, 3, 4, 4], "conv_stride": [5, 2, 2, 2, 2, 4, 4]}

test_conformance = conformance("dragon-reward-mert")


@pytest.fixture(scope="module", autouse=True)
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A checkpoint of fewer frames, in place of the other tests'; what was built from it is forgotten afterwards."""
    folder = tmp_path_factory.mktemp("coarse")
    write(random_model(COARSE), COARSE, folder / "mert")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRAGON_WEIGHTS", str(folder))
        yield
    load_registry.cache_clear()
