"""How fast a folder of music is scored with one core and with two.

python reports/guide/scoring.py SCRATCH     # writes scoring.csv and scoring.md; files that are in SCRATCH are kept

A hundred OGG files of three minutes, 44.1 kHz stereo: seeded chords that decay, in noise. Nothing is cached. Times
are of `score_files`, with the encoder built before; each figure is the median of three processes, by turns. Linux.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd
import soundfile
import torch

from dragon_rewards import compose
from dragon_rewards.compute.devices import CPU
from dragon_rewards.scoring import score_files
from dragon_rewards.storage.results import write_table

HERE = Path(__file__).parent
RATE, SECONDS, FILES, DIFFERENT = 44_100, 180, 100, 5
REWARDS = ("per-song-fad:logmel@airs", "per-song-fad:clap@airs")
ROUNDS = 3


def second(rng: np.random.Generator) -> np.ndarray:
    """A chord of four notes with three overtones each, (samples, 2)."""
    time = np.arange(RATE) / RATE
    notes = 110 * 2 ** (rng.integers(0, 36, 4) / 12)
    chord = sum(np.sin(2 * np.pi * note * k * time) / k for note in notes for k in (1, 2, 3, 5)) * np.exp(-2 * time)
    sides = np.stack([chord, np.roll(chord, 400)], 1)
    return (0.05 * sides + 0.01 * rng.standard_normal(sides.shape)).astype(np.float32)


def make_files(folder: Path) -> None:
    """The files: a few different ones, and copies."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(DIFFERENT):
        paths = [folder / f"{seed}-{copy:02d}.ogg" for copy in range(FILES // DIFFERENT)]
        if not paths[0].exists():
            rng = np.random.default_rng(seed)
            with soundfile.SoundFile(paths[0], "w", RATE, 2, format="OGG", subtype="VORBIS") as sound:
                for _ in range(SECONDS):
                    sound.write(second(rng))
        for path in paths[1:]:
            shutil.copy(paths[0], path)


def timed(reward: str, folder: Path, cores: int) -> float:
    """Seconds that a process takes on so many cores."""
    command = [sys.executable, __file__, str(folder), reward, str(cores)]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # noqa: S603  this file
    return float(done.stdout)


def score(folder: Path, reward: str, cores: int) -> None:
    """What such a process does: score, and print how long it took."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    torch.set_num_threads(cores)
    composed = compose(reward)
    composed.registry.build_encoder(composed.encoder.name, CPU)
    started = perf_counter()
    score_files(composed, [folder], None, lambda *_: None, None, CPU)
    print(perf_counter() - started)


def main() -> None:
    """Make the files, time by turns, write the table."""
    folder = Path(sys.argv[1])
    make_files(folder)
    rows = []
    for reward in REWARDS:
        taken = [[timed(reward, folder, cores) for cores in (1, 2)] for _ in range(ROUNDS)]
        one, two = (median(times) for times in zip(*taken, strict=True))
        rows.append({"reward": reward, "one_core_s": one, "two_cores_s": two, "times": one / two})
    write_table(HERE / "scoring", pd.DataFrame(rows))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        score(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    else:
        main()
