"""Make the statistics of the shipped sets of audio in the space of `spr`, and the mean embedding of each clip.

    python spr_statistics.py WORK_DIR

The encoder brings its statistics, as a plugin does, and the sets stay as they are. Their points name the contents of
the set: make them again after build_exemplars.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from training import load_clips, to_float

from dragon_rewards.builtin import OF_SPR, shipped_sets
from dragon_rewards.embedded.spr import load_encoder
from dragon_rewards.exemplars.points import SUFFIX
from dragon_rewards.exemplars.sets import read_manifest
from dragon_rewards.metrics import Gaussian
from dragon_rewards.storage.tensor_files import write_tensors

SETS, BATCH = ("tunebook", "airs"), 64


@torch.no_grad()
def main(work: Path) -> None:
    """Write the statistics and the points of each set."""
    encoder = load_encoder()
    OF_SPR.mkdir(parents=True, exist_ok=True)
    for name in SETS:
        frames = torch.cat([encoder.encode_audio(to_float(part)) for part in load_clips(work, name).split(BATCH)])
        gaussian, marks = Gaussian.fit(frames.flatten(0, 1)), {"identity": encoder.identity}
        made_by = "reports/embedded/spr_statistics.py, from the clips of the set"
        write_tensors(OF_SPR / f"{name}.safetensors", gaussian.to_tensors(), {**marks, "provenance": made_by})
        folder = shipped_sets() / name
        contents = {**marks, "items": read_manifest(folder).sha256}
        write_tensors(folder / f"spr{SUFFIX}", {"points": frames.mean(1).half()}, contents)
        print(f"{name}: {gaussian.count} frames")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
