"""What sets of many short clips cost by their size: `dragon exemplars add` and `dragon score` with worker processes.

    python reports/benchmarks/many_files.py CLIPS_DIR [FILES ...]    # many_files.csv, many_files.md

Clips of half a second are written into CLIPS_DIR once, a thousand to a folder. Each command runs in a process of its
own, with two workers and the cheapest encoder, so that what is measured is what a file costs beside its encoder.
Embeddings are not cached. RAM is the largest resident set of the command and of a worker, in MB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import soundfile
from run import machine

if TYPE_CHECKING:
    from numpy.typing import NDArray

HERE = Path(__file__).parent
RATE, SECONDS, SHELF = 16_000, 0.5, 1000
SPREAD = ("--launcher", "local", "--workers", "2", "--device", "cpu")
RUN = """
import json, os, resource, sys, time
from dragon_train.cli import main
begun = time.monotonic()
try:
    main()
finally:
    own, workers = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = sum(used.ru_utime + used.ru_stime for used in (own, workers))
    with open("/proc/self/status") as status:  # ru_maxrss counts what the process was before it became Python
        most = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    figures = [time.monotonic() - begun, cpu, most, workers.ru_maxrss]
    os.write(3, json.dumps(figures).encode())
"""


def write_clips(folder: Path, count: int) -> list[Path]:
    """Write the first clips of a collection, those that are not there, and return their folders."""
    shelves = [folder / f"{shelf:04d}" for shelf in range(-(-count // SHELF))]
    for seed, place in enumerate(shelves):
        if not place.is_dir():
            part = folder / f".{place.name}"
            part.mkdir(parents=True, exist_ok=True)
            for number, clip in enumerate(sounds(seed)):
                soundfile.write(part / f"{number:03d}.wav", clip, RATE)
            part.rename(place)
    return shelves


def sounds(seed: int) -> NDArray[np.int16]:
    """Return the clips of a folder, (clips, samples): parts of a long tone that rises by three octaves, in noise."""
    samples = SHELF * round(RATE * SECONDS)
    phase = np.cumsum(2 * np.pi * 110 / RATE * 2 ** np.linspace(0, 3, samples))
    noise = np.random.default_rng(seed).standard_normal(samples, np.float32)
    return (3000 * np.sin(phase) + 300 * noise).astype(np.int16).reshape(SHELF, -1)


def measure(folder: Path, *arguments: object) -> dict[str, float]:
    """Run a command in a process of its own, whose sets and shards are in `folder`, and return its figures."""
    places = {"DRAGON_EXEMPLARS": str(folder / "sets"), "XDG_CACHE_HOME": str(folder / "cache"), "DRAGON_CACHE": "off"}
    reading, writing = os.pipe()
    program = [sys.executable, "-c", f"import os; os.dup2({writing}, 3)\n{RUN}", *map(str, arguments)]
    subprocess.run(  # noqa: S603  this module's own
        program, env=os.environ | places, pass_fds=[writing], check=True, stdout=subprocess.DEVNULL
    )
    os.close(writing)
    with os.fdopen(reading) as told:
        wall, cpu, own, worker = json.load(told)
    return {"seconds": wall, "cpu_s": cpu, "MB": own / 1024, "MB_of_a_worker": worker / 1024}


def rows_of(clips: Path, count: int) -> list[dict[str, object]]:
    """Measure every command on the first `count` clips."""
    shelves = write_clips(clips, count)
    commands = {
        "exemplars add": ("exemplars", "add", "many", *shelves, *SPREAD),
        "its statistics": ("exemplars", "add", "many", "--encoder", "logmel", *SPREAD),
        "score dataset-fad": ("score", "dataset-fad:logmel@many", *shelves, *SPREAD),
        "score dataset-fad, in one process": ("score", "dataset-fad:logmel@many", *shelves, "--device", "cpu"),
        "score per-song-fad, in one process": ("score", "per-song-fad:logmel@many", *shelves, "--device", "cpu"),
        "list rewards": ("list", "rewards"),
    }
    rows = []
    with TemporaryDirectory() as folder:
        for name, arguments in commands.items():
            figures = measure(Path(folder), *arguments)
            rows.append({"command": name, "files": count, **figures, "cpu_ms_per_file": 1e3 * figures["cpu_s"] / count})
            print(rows[-1], flush=True)
    return rows


def main(clips: Path, counts: list[int]) -> None:
    """Measure, and write the tables."""
    table = pd.DataFrame([row for count in counts for row in rows_of(clips, count)]).sort_values(
        "command", kind="stable", key=lambda names: names.map({name: at for at, name in enumerate(names.unique())})
    )
    table.to_csv(HERE / "many_files.csv", index=False)
    text = table.to_markdown(index=False, floatfmt=".3g")
    (HERE / "many_files.md").write_text(f"{machine('cpu')}\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), list(map(int, sys.argv[2:])) or [1000, 10_000, 100_000])
