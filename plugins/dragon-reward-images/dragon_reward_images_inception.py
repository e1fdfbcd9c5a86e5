"""The encoder `inception`: an image is the 2048 values of the last pool, between which FID is a Fréchet distance."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from dragon_reward_images import INCEPTION_FILE, INCEPTION_URL
from dragon_reward_images_inception_network import Inception
from dragon_reward_images_resize import bilinear_of_tensorflow

from dragon_rewards import WeightsError, fingerprint_files

if TYPE_CHECKING:
    from torch import Tensor

SIZE = 299  # pixels
CLASSIFIER = ("fc.weight", "fc.bias")  # what follows the last pool


class InceptionEncoder:
    """An encoder of images: a frozen Inception, and the resizing that is part of its graph."""

    def __init__(self, network: Inception, identity: str) -> None:
        self.network, self.identity = network, identity

    def encode_image(self, images: Tensor) -> Tensor:
        """Return one frame each, (images, 1, 2048), of RGB images (images, 3, height, width) in [0, 1]."""
        levels = bilinear_of_tensorflow(images * 255, SIZE)
        frames: Tensor = self.network((levels - 128) / 128)
        return frames[:, None]


def load_encoder() -> InceptionEncoder:
    """Load the encoder `inception` from the user's weights.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
    path = find_weights()
    return InceptionEncoder(load_network(path), fingerprint_files("inception", [path]))


def load_network(path: Path) -> Inception:
    """Load the network with the released state dict, frozen.

    Raises:
        WeightsError: the file is damaged, or holds another network.
    """
    with torch.device("meta"):  # 22 million values that need no initialisation
        network = Inception()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        kept = {name: value for name, value in state.items() if name not in CLASSIFIER}
        network.load_state_dict(kept, assign=True)
    except Exception as error:  # torch raises errors of many kinds for a damaged file
        raise WeightsError(
            f"{path} is not the state dict of FID's Inception; download {INCEPTION_URL} again: {error}"
        ) from error
    return network.eval().requires_grad_(requires_grad=False)


def find_weights() -> Path:
    """Return the path of the released file, in `$DRAGON_WEIGHTS/inception` or where torch.hub keeps its downloads.

    Raises:
        WeightsError: it is in neither place; the message says where to put what.
    """
    own = os.environ.get("DRAGON_WEIGHTS")
    folders = [Path(own) / "inception"] if own else []
    folders.append(Path(torch.hub.get_dir()) / "checkpoints")
    for folder in folders:
        if (folder / INCEPTION_FILE).is_file():
            return folder / INCEPTION_FILE
    raise WeightsError(
        f"encoder 'inception' needs {INCEPTION_FILE}, which is not in {' or '.join(map(str, folders))}: download "
        f"{INCEPTION_URL} (96 MB) to a folder 'inception' and set DRAGON_WEIGHTS to the folder above it"
    )
