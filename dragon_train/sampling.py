"""Generate clips into a folder that `dragon score` reads: media files and their prompts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards.errors import DragonError
from dragon_train.run import load_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon_train.catalogue import PipelineInfo


def sample_to_folder(
    info: PipelineInfo,
    run: Path | None,
    prompts: Sequence[str],
    out: Path,
    *,
    steps: int,
    guidance: float,
    seed: int,
) -> list[dict[str, Any]]:
    """Write one file per prompt and `prompts.csv`; returns a row per clip."""
    if not all(prompt.strip() for prompt in prompts):
        raise DragonError("a prompt is empty; describe the music, for example 'a slow hymn on the organ'")
    policy = info.factory()
    if run is not None:
        load_run(policy, run)
    seeds = range(seed, seed + len(prompts))
    latents = policy.sample(prompts, seeds, steps, guidance)
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for prompt, number, own in zip(prompts, seeds, latents, strict=True):
        stem = f"{number:04d}-{re.sub(r'[^a-z0-9]+', '-', prompt.lower()).strip('-')[:60]}"
        rows.append({"path": str(policy.write(own, out / stem)), "prompt": prompt, "seed": number})
    table = pd.DataFrame(rows)
    table["path"] = [Path(path).name for path in table["path"]]  # relative: the folder may move
    table.to_csv(out / "prompts.csv", index=False)
    return rows
