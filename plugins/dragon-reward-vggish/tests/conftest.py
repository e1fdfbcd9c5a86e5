"""A checkpoint of the real network with random weights, where a user would put the released one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from dragon_reward_vggish import FILE
from torchvggish.torchvggish import VGG, make_layers

if TYPE_CHECKING:
    from collections.abc import Iterator


def random_network() -> VGG:
    """The network of torchvggish; its weights keep the scale of what passes through, so that frames differ."""
    torch.manual_seed(0)
    network = VGG(make_layers(), postprocess=False)
    for weight in network.parameters():
        if weight.ndim > 1:
            torch.nn.init.kaiming_normal_(weight)
    return network.eval()


@pytest.fixture(scope="session")
def network() -> VGG:
    return random_network()


@pytest.fixture(scope="session", autouse=True)
def weights(network: VGG, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The path of the saved state dict (288 MB, removed afterwards), found through DRAGON_WEIGHTS."""
    folder = tmp_path_factory.mktemp("weights")
    path = folder / "vggish" / FILE
    path.parent.mkdir()
    torch.save(network.state_dict(), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRAGON_WEIGHTS", str(folder))
        yield path
    path.unlink()
