"""An encoder of colours, installed as pip would leave it, and folders of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from PIL import Image
from support.parts import Site
from support.registries import site
from support.user_sets import dragon, refused, rows, sets

from dragon_rewards.testing.images import pictures

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

__all__ = ["dragon", "refused", "rows", "sets", "site"]

EYE = """
from dragon_rewards import EncoderInfo, Modality, hookimpl

COLOURS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}


class Eye:
    identity = "eye-1"

    def encode_image(self, images):
        from torch.nn.functional import adaptive_avg_pool2d

        return adaptive_avg_pool2d(images, 4).flatten(2).mT

    def encode_text(self, texts):
        import torch

        return torch.tensor([COLOURS[text] for text in texts])


@hookimpl
def register_encoders(register):
    register(EncoderInfo("eye", frozenset({Modality.IMAGE, Modality.TEXT}), 3, 0, "MIT", "mean colours", Eye))
"""


@pytest.fixture(autouse=True)
def eye(site: Site, sets: Path) -> Site:
    """The encoder `eye`: 16 frames of an image, the mean colours of its parts, and their names as text."""
    assert sets.name == "sets"  # set up, so that nothing of the user's is touched
    site.install("dragon-reward-eye", EYE)
    return site


def save(path: Path, pixels: Tensor) -> Path:
    """Save an image (3, height, width) in [0, 1]; the suffix names the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((pixels * 255).round().byte().permute(1, 2, 0).numpy()).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six images of three formats and three sizes, in two folders."""
    folder = tmp_path / "photos"
    for number, (name, size) in enumerate(
        {
            "a.png": (40, 30),
            "b.png": (40, 30),
            "c.jpg": (64, 64),
            "deep/d.jpeg": (64, 64),
            "deep/e.webp": (20, 50),
            "deep/f.PNG": (20, 50),
        }.items()
    ):
        save(folder / name, pictures(4, *size, seed=number)[number % 4])
    return folder


@pytest.fixture
def coloured(tmp_path: Path) -> Path:
    """An image of each of three colours, with their names as prompts."""
    folder = tmp_path / "coloured"
    for name, colour in {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}.items():
        save(folder / f"{name}.png", torch.tensor(colour, dtype=torch.float32)[:, None, None].expand(3, 8, 8))
        (folder / f"{name}.txt").write_text(name)
    return folder
