"""What laion_clap itself makes of audio and texts, asked as fadtk asks it: original.py CHECKPOINT INPUT OUTPUT.

A process of its own: laion_clap needs stand-ins for modules that only training uses, and changes the import path.
"""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import torch
import transformers  # noqa: F401  before the stand-ins, which it would take for the real torchvision
from safetensors import safe_open
from safetensors.torch import save_file

TORCHVISION = (
    "torchvision",
    "torchvision.datasets",
    "torchvision.transforms",
    "torchvision.ops",
    "torchvision.ops.misc",
)
SECOND = 48_000


class StandIn(ModuleType):
    """A module that has any name."""

    __path__ = []  # noqa: RUF012  it has no modules of its own

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def load(checkpoint: str) -> Any:
    sys.modules |= {name: StandIn(name) for name in TORCHVISION}
    import laion_clap  # type: ignore[import-not-found]

    module = laion_clap.CLAP_Module(enable_fusion=False, amodel="HTSAT-base", device="cpu")
    module.load_ckpt(checkpoint, verbose=False)
    return module


def frames(module: Any, clip: torch.Tensor) -> torch.Tensor:
    """Audio (samples,) -> (seconds, 512)."""
    from laion_clap.hook import float32_to_int16, int16_to_float32  # type: ignore[import-not-found]

    audio = torch.from_numpy(int16_to_float32(float32_to_int16(clip.numpy())))
    rows = []
    for start in range(0, len(audio), SECOND):
        window = torch.zeros(1, 10 * SECOND)
        piece = audio[start : start + 10 * SECOND]
        window[0, : len(piece)] = piece
        rows.append(module.get_audio_embedding_from_data(window, use_tensor=True))
    return torch.cat(rows)


def main(checkpoint: str, source: str, target: str) -> None:
    module = load(checkpoint)
    with safe_open(source, framework="pt") as file, torch.no_grad():
        made = {name: frames(module, file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        texts = json.loads(file.metadata()["texts"])
        save_file(made | {"texts": module.get_text_embedding(texts, use_tensor=True)}, target)


main(*sys.argv[1:])
