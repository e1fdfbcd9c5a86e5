"""What a finished run stored."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from dragon_train.loop.run_folder import ADAPTER, DENOISER


def result(folder: Path) -> dict[str, Tensor]:
    """The adapters, or all weights."""
    path = folder / ADAPTER
    return load_file(path if path.is_file() else folder / DENOISER / "diffusion_pytorch_model.safetensors")
