"""Tune toward a small and a larger set of one sound, and judge by clips of the sound that are in neither.

python reports/guide/set_size.py SCRATCH && python reports/guide/tuned.py SCRATCH     # writes tuned.csv and tuned.md
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch
from set_size import KNOWN, POLICY, POOL, STEPS, distance, frames, gaussian

from dragon_rewards.media.audio import write_audio
from dragon_rewards.metrics import vendi_score
from dragon_rewards.storage.files import write_text
from dragon_rewards.storage.results import write_table
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.tuning import load_run
from dragon_train.registry import load_train_registry

HERE = Path(__file__).parent
SIZES = (10, 300)
SETTINGS = """
tuning = "all"
steps = 8
prompts_per_step = 40
keep = 0.5
learning_rate = 4e-5
pool = 4
"""


def tune(size: int, scratch: Path) -> Path:
    """The folder of a run toward the first `size` clips of the pool."""
    files = sorted((scratch / "pool").glob("*.wav"))[:size]
    name, run, config = f"narrow-{size}", scratch / f"run-{size}", scratch / "tuned.toml"
    write_text(config, SETTINGS)
    dragon = [sys.executable, "-m", "dragon_train.cli"]
    subprocess.run([*dragon, "exemplars", "add", name, *map(str, files)], check=True)  # noqa: S603  our own command
    reward = f"dataset-fad:clap@{name}"
    subprocess.run([*dragon, "train", str(config), "--reward", reward, "--out", str(run)], check=True)  # noqa: S603  our own command
    return run


def tuned_clips(run: Path, folder: Path) -> list[Path]:
    """The clips of `policy` again, made by the tuned model."""
    folder.mkdir(exist_ok=True)
    policy = load_train_registry().pipeline("embedded").factory()
    load_run(policy, run)
    latents = policy.sample(prompts("watch")[:POLICY], range(90_000, 90_000 + POLICY), STEPS, 1.0)
    paths = [folder / f"{row:04d}.wav" for row in range(POLICY)]
    for path, clip in zip(paths, latents, strict=True):
        write_audio(path, policy.decode(clip[None])[0], 16_000)
    return paths


def main() -> None:
    """Tune, judge, write the table."""
    scratch = Path(sys.argv[1])
    os.environ["DRAGON_EXEMPLARS"] = str(scratch / "sets")
    sound = frames(sorted((scratch / "pool").glob("*.wav"))[: POOL + KNOWN])
    policies = {"untuned": frames(sorted((scratch / "policy").glob("*.wav")))}
    for size in SIZES:
        policies[f"toward {size}"] = frames(tuned_clips(tune(size, scratch), scratch / f"tuned-{size}"))
    rows = [
        {
            "model": name,
            **{f"to_the_{size}": distance(clips, gaussian(sound[:size])) for size in SIZES},
            "to_further_clips": distance(clips, gaussian(sound[POOL:])),
            "vendi": vendi_score(torch.stack([clip.mean(0) for clip in clips])).item(),
        }
        for name, clips in policies.items()
    ]
    write_table(HERE / "tuned", pd.DataFrame(rows))


if __name__ == "__main__":
    main()
