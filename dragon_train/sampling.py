"""Generate clips into a folder that `dragon score` reads: WAV files and their prompts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards.audio import write_audio
from dragon_rewards.errors import DragonError
from dragon_train.run import load_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
    """Write one WAV per prompt and `prompts.csv`; returns a row per clip."""
    if not all(prompt.strip() for prompt in prompts):
        raise DragonError("a prompt is empty; describe the music, for example 'a slow hymn on the organ'")
    policy = info.factory()
    if run is not None:
        load_run(policy, run)
    seeds = range(seed, seed + len(prompts))
    audio = policy.decode(policy.sample(prompts, seeds, steps, guidance))
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for prompt, number, clip in zip(prompts, seeds, audio, strict=True):
        path = out / f"{number:04d}-{re.sub(r'[^a-z0-9]+', '-', prompt.lower()).strip('-')[:60]}.wav"
        write_audio(path, clip, policy.sample_rate)
        rows.append(
            {"path": path.name, "prompt": prompt, "seed": number, "seconds": clip.shape[-1] / policy.sample_rate}
        )
    pd.DataFrame(rows).to_csv(out / "prompts.csv", index=False)
    return rows
