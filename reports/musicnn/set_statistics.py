"""Make the statistics of the shipped exemplar sets of audio in the space of `musicnn`, which its plugin brings.

    python set_statistics.py WORK_DIR

WORK_DIR is the folder that ../embedded/corpus.py filled; the plugin dragon-reward-musicnn has to be installed. The sets
themselves stay as they are: the hash of their contents tells whether scores are of the same set.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from dragon_reward_musicnn import Musicnn

from dragon_rewards.metrics import Gaussian
from dragon_rewards.storage.tensor_files import write_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUT = Path(__file__).parents[2] / "plugins" / "dragon-reward-musicnn" / "dragon_reward_musicnn_statistics"
SETS, BATCH = ("airs", "tunebook"), 16


def frames(encoder: Musicnn, clips: NDArray[np.int16]) -> torch.Tensor:
    """The frames (frames, 200) of all clips (clips, samples)."""
    parts = [clips[start : start + BATCH] for start in range(0, len(clips), BATCH)]
    return torch.cat([encoder.encode_audio(torch.from_numpy(part / 2**15).float()).flatten(0, 1) for part in parts])


def provenance(work: Path, name: str) -> str:
    """How the statistics of a set came about."""
    day = datetime.fromtimestamp((work / f"{name}.npy").stat().st_mtime, tz=UTC).date()
    return (
        f"reports/musicnn/set_statistics.py, from the clips of the set, rendered by reports/embedded/corpus.py on {day}"
    )


@torch.no_grad()
def main(work: Path) -> None:
    """Write the statistics of each set."""
    encoder = Musicnn()
    for name in SETS:
        gaussian = Gaussian.fit(frames(encoder, np.load(work / f"{name}.npy", mmap_mode="r")))
        metadata = {"identity": encoder.identity, "provenance": provenance(work, name)}
        write_tensors(OUT / f"{name}.safetensors", gaussian.to_tensors(), metadata)
        print(f"{name}: {gaussian.count} frames")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
