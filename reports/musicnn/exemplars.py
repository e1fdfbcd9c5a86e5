"""Add statistics in the space of `musicnn` to the shipped exemplar sets of audio.

    python exemplars.py WORK_DIR

WORK_DIR is the folder that ../embedded/corpus.py filled; the plugin dragon-reward-musicnn has to be installed. Captions
and all other statistics stay as they are. `build_exemplars.py` writes the folders anew, so this comes after it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from dragon_reward_musicnn import Musicnn

from dragon_rewards.builtin import shipped_sets
from dragon_rewards.exemplars import content_hash, read_manifest
from dragon_rewards.exemplars.sets import MANIFEST
from dragon_rewards.metrics import Gaussian
from dragon_rewards.storage.files import write_text
from dragon_rewards.storage.tensor_files import write_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

SETS, BATCH = ("airs", "tunebook"), 16
MADE = "statistics of musicnn by reports/musicnn/exemplars.py from a newer rendering than that of captions and the rest"


def frames(encoder: Musicnn, clips: NDArray[np.int16]) -> torch.Tensor:
    """The frames (frames, 200) of all clips (clips, samples)."""
    parts = [clips[start : start + BATCH] for start in range(0, len(clips), BATCH)]
    return torch.cat([encoder.encode_audio(torch.from_numpy(part / 2**15).float()).flatten(0, 1) for part in parts])


@torch.no_grad()
def main(work: Path) -> None:
    """Write the statistics of each set, and the manifest that names them."""
    encoder = Musicnn()
    for name in SETS:
        folder, clips = shipped_sets() / name, np.load(work / f"{name}.npy", mmap_mode="r")
        gaussian = Gaussian.fit(frames(encoder, clips))
        write_tensors(folder / "musicnn.safetensors", gaussian.to_tensors(), {"identity": encoder.identity})
        manifest = read_manifest(folder)
        before = manifest.provenance.removesuffix(f"; {MADE}")
        made = replace(manifest, provenance=f"{before}; {MADE}", sha256=content_hash(folder))
        write_text(folder / MANIFEST, f"{json.dumps(asdict(made), indent=2, ensure_ascii=False)}\n")
        print(f"{name}: {gaussian.count} frames")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
