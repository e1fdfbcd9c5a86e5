"""A page to listen to: the same eight prompts and seeds by the untuned model and by runs of the record.

python reports/objectives/sounds.py WORK ARM [ARM ...]     # of seed 11; writes the folder `sounds` beside this file
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile
import torch

from dragon_rewards.storage.files import write_text
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.rollout import Stream, generate, seeds
from dragon_train.loop.tuning import load_policy
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from torch import Tensor

OUT, COUNT, SEED, STEPS = Path(__file__).with_name("sounds"), 8, 11, 6
HEAD = """# Eight clips by the runs of the record

The first eight prompts of the exam, not chosen, and the record's seeds: clips of the untuned model, and of runs of
[record.toml](../record.toml) with seed {seed}. Written by `python reports/objectives/sounds.py WORK {given}`.
"""


def made(folder: Path | None) -> Tensor:
    """The clips of a run, or of the untuned model, (8, samples)."""
    policy = load_policy(load_train_registry().pipeline("embedded"), folder, torch.device("cpu"))
    numbers = seeds(Stream.HELDOUT, SEED, count=COUNT)
    clips = generate(policy, prompts("exam")[:COUNT], numbers, STEPS, 1.0).clips
    return torch.stack([clip.flatten() for clip in clips.media])


def cells(arm: str, folder: Path | None) -> list[str]:
    """A player for each clip, which is written as Ogg Vorbis."""
    names = [f"{arm.replace(' ', '-')}-{number}.ogg" for number in range(1, COUNT + 1)]
    for name, clip in zip(names, made(folder), strict=True):
        soundfile.write(OUT / name, clip.numpy(), 16_000, format="OGG", subtype="VORBIS")
    return [f'<audio controls preload="none" src="{name}"></audio> [{name}]({name})' for name in names]


def main(work: Path, arms: list[str]) -> None:
    """Sample, write the sounds and the page."""
    OUT.mkdir(exist_ok=True)
    runs = json.loads((work / "record" / "ablation.json").read_text(encoding="utf-8"))["cells"]
    folders = {run["arm"]: work / run["folder"] for run in runs if run["seed"] == SEED}
    columns = [list(prompts("exam")[:COUNT]), cells("untuned", None), *(cells(arm, folders[arm]) for arm in arms)]
    rows = [["prompt", "untuned", *arms], [":--"] * len(columns), *map(list, zip(*columns, strict=True))]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    given = " ".join(f'"{arm}"' if " " in arm else arm for arm in arms)
    write_text(OUT / "README.md", f"{HEAD.format(seed=SEED, given=given)}\n{table}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
