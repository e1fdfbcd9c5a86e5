"""What each encoder hears of the rendered collections: the table of `dragon exemplars judge`, of more clips than ship.

    pip install ./plugins/dragon-reward-musicnn      # adds a row
    python judges.py WORK_DIR [CLIPS]

Clips of `airs` are told from clips of `tunebook`, and damaged; where half of a set is a reference, the other is held
out. Writes judges.csv and judges.md beside itself.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from training import load_clips, to_float

from dragon_rewards import load_registry
from dragon_rewards.compute.devices import CPU
from dragon_rewards.evaluation.hearing import Ear, hear
from dragon_rewards.evaluation.tracks import Track
from dragon_rewards.storage.results import write_table

OWN, OTHER, CLIPS, SEED, RATE = "airs", "tunebook", 128, 0, 16_000
ENCODERS = ("spr", "clap", "vae", "logmel", "chroma", "musicnn")


def tracks(work: Path, split: str, count: int) -> list[Track]:
    """The first clips of a split."""
    clips = load_clips(work, split)[:count]
    return [Track(f"{split} {number}", to_float(clip), RATE) for number, clip in enumerate(clips)]


def main(work: Path, count: int) -> None:
    """A row for each encoder that is installed, written as soon as it is known."""
    registry, rows = load_registry(), list[dict[str, object]]()
    own, other = tracks(work, OWN, count), tracks(work, OTHER, count)
    for name in (each for each in ENCODERS if each in registry.encoders):
        found = hear(Ear(name, registry, CPU, SEED, lambda _: None), own, other)
        rows.append({"encoder": name, "hears": str(found.verdict), **asdict(found)})
        write_table(Path(__file__).parent / "judges", pd.DataFrame(rows).round(3))
        print(rows[-1], flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else CLIPS)
