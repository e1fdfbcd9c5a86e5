"""Generate clips into a folder that `dragon score` reads: media files and their prompts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards.formulas import write_csv
from dragon_rewards.locks import PATIENCE, locked
from dragon_train.run import load_policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import torch
    from torch import Tensor

    from dragon_train.catalogue import PipelineInfo
    from dragon_train.pipelines.base import Policy


def sample_to_folder(
    info: PipelineInfo,
    run: Path | None,
    prompts: Sequence[str],
    out: Path,
    device: torch.device,
    *,
    steps: int,
    guidance: float,
    seed: int,
) -> list[dict[str, Any]]:
    """Write one file per prompt and `prompts.csv`; returns a row per clip.

    Raises:
        DragonError: a prompt is empty, or `run` is no finished run of this pipeline.
    """
    policy = load_policy(info, run, device)
    seeds = range(seed, seed + len(prompts))
    latents = policy.sample(prompts, seeds, steps, guidance)
    rows = [{"prompt": prompt, "seed": number} for prompt, number in zip(prompts, seeds, strict=True)]
    return write_clips(policy, latents, rows, seeds, out)


def write_clips(
    policy: Policy, latents: Iterable[Tensor], rows: Iterable[Mapping[str, Any]], numbers: Iterable[int], out: Path
) -> list[dict[str, Any]]:
    """Write each clip to a file that its number and prompt name, and the rows, with their paths, to `prompts.csv`.

    Latents are taken one after the other, and may be sampled as they are.
    """
    with locked(out, wait=PATIENCE):
        written = [
            {"path": str(policy.write(own, out / stem(number, row["prompt"]))), **row}
            for own, row, number in zip(latents, rows, numbers, strict=True)
        ]
        named = [{**row, "path": Path(row["path"]).name} for row in written]  # relative: the folder may move
        write_csv(out / "prompts.csv", pd.DataFrame(named))
    return written


def stem(number: int, prompt: str) -> str:
    """A file's name without its suffix.

    >>> stem(7, "A jig, on the fiddle!")
    '0007-a-jig-on-the-fiddle'
    """
    return f"{number:04d}-{re.sub(r'[^a-z0-9]+', '-', prompt.lower()).strip('-')[:60]}"
