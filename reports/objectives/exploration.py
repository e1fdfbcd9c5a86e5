"""Whether greedy tuning explores where prompts recur and earlier clips are remembered (arXiv 2508.01287).

    python reports/objectives/exploration.py WORK [PART]   # PART 0 or 1 of 2 processes; without it, writes the tables

Toward a reward of sets, `dpo` and `kto` are given the same 40 prompts in every step or fresh ones, and a pool of the
clips of four earlier steps or none: 20,000 denoiser calls for each run. On the prompts to watch, from seeds of their
own: the metric of the reward, the Vendi score, and the facets that are reached. These are eight clusters of the untuned
model's clips in the encoder's space; with p the shares of a model's clips, it reaches exp(-sum p log p) of them.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from dragon_rewards import compose
from dragon_rewards.metrics import Facets
from dragon_rewards.storage.results import write_table
from dragon_train.config import TrainConfig
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.rollout import embedded
from dragon_train.loop.tuning import load_policy
from dragon_train.registry import load_train_registry
from dragon_train.session import run_training

HERE, CPU = Path(__file__).parent, torch.device("cpu")
REWARD, VARIETY, FACETS, CLIPS = "dataset-fad:clap@airs", "vendi:clap", 8, 256
OBJECTIVES, SEEDS = ("dpo", "kto"), (11, 12, 13)
RECURRING = 40
COMMON = TrainConfig(
    REWARD,
    steps=31,
    prompts_per_step=40,
    minibatch=20,
    keep=0.5,
    epochs=1,
    learning_rate=3e-4,
    demonstration_steps=6,
    precision="bf16",
)


def tuned(work: Path, objective: str, prompts_are: str, pool: int, seed: int) -> Path:
    """The folder of the run, which is made or finished if it is not there."""
    folder = work / f"{objective}-{prompts_are}-{pool}-{seed}"
    config = replace(COMMON, objective=objective, pool=pool, seed=seed)
    listed = work / "recurring.txt"
    listed.write_text("\n".join(prompts("train")[:RECURRING]) + "\n", encoding="utf-8")
    return run_training(config, listed if prompts_are == "recurring" else None, folder, "cpu")


@torch.no_grad()
def made(run: Path | None) -> Any:
    """The embeddings of what a model makes of the prompts to watch; None is the untuned model."""
    policy = load_policy(load_train_registry().pipeline("embedded"), run, CPU)
    texts = prompts("watch")[:CLIPS]
    latents = policy.sample(texts, range(CLIPS), 8, 1.0)
    return embedded(policy, latents, texts, [compose(REWARD), compose(VARIETY)])


def points(clips: Any) -> torch.Tensor:
    """The mean embedding of each clip, (clips, dim)."""
    return torch.stack([frames.double().mean(0) for frames in clips.known.frames["clap"]])


def figures(clips: Any, facets: Facets) -> dict[str, float]:
    """Reward, Vendi score and facets reached of a set of clips."""
    nearest = torch.cdist(points(clips), facets.centroids).argmin(1)
    shares = torch.bincount(nearest, minlength=FACETS).double() / len(nearest)
    reached = float(torch.special.entr(shares).sum().exp())
    reward, variety = (float(compose(name).metric(clips)) for name in (REWARD, VARIETY))
    return {"reward": reward, "vendi": variety, "facets": reached}


def main(work: Path, part: int | None) -> None:
    """Tune what is missing; then judge, and write the tables."""
    work.mkdir(parents=True, exist_ok=True)
    cells = list(product(OBJECTIVES, ("recurring", "fresh"), (0, 4), SEEDS))
    runs = {cell: tuned(work, *cell) for cell in (cells if part is None else cells[part::2])}
    if part is not None:
        return
    untuned = made(None)
    facets = Facets.fit(points(untuned), FACETS)
    rows = [{"objective": "untuned", **figures(untuned, facets)}]
    for (objective, prompts_are, pool, seed), run in runs.items():
        named = {"objective": objective, "prompts": prompts_are, "pool": pool, "seed": seed}
        rows.append(named | figures(made(run), facets))
    table = pd.DataFrame(rows)
    write_table(HERE / "exploration_runs", table)
    cells_of = table.groupby(["objective", "prompts", "pool"], dropna=False)[["reward", "vendi", "facets"]]
    write_table(HERE / "exploration", cells_of.agg(["mean", "std"]))
    print(cells_of.agg(["mean", "std"]).round(3).to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
