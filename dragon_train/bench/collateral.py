"""Measure what a model has lost or kept beside the reward that it was tuned toward, which tuning pays for elsewhere.

For the embedded pipeline: how far clips are what their prompts name, how far they are from its reference set, and how
well the denoiser still predicts real music. For every pipeline of audio: silence, loudness and variety.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pandas as pd
import torch

from dragon_rewards import compose
from dragon_rewards.errors import AudioError, TooFewClipsError
from dragon_rewards.evaluation.score_tables import MEASURED
from dragon_rewards.names import RewardName
from dragon_rewards.storage.dataframes import read_parquet
from dragon_rewards.storage.decoding import read_json
from dragon_rewards.storage.files import write_text
from dragon_rewards.storage.results import write_table
from dragon_train.bench.judges import read_judgements
from dragon_train.bench.result_files import COLLATERAL, CONFOUNDERS, FIGURES
from dragon_train.embedded.adherence import Probe, adherence
from dragon_train.embedded.real_music import fitting_latents
from dragon_train.prompts import EMBEDDED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.media.clips import Clips
    from dragon_train.protocols import Policy

VARIETY = {"vendi": "vendi:clap"}
DISTANCES = {"fad_logmel": "dataset-fad:logmel@tunebook", "fad_chroma": "dataset-fad:chroma@tunebook"}
DENOISING = "denoising_error"
DRAWS, SEED = 4, 0  # of noise for each real clip; the same noise and levels for every model
AGAIN = "delete it and scores.parquet beside it, and the same command measures again"
TEXT = (
    "What each model has beside its reward; `baseline` is the untuned model, and a run that won its reward and lost "
    "here has paid for it. Attributes: the share of clips in which a probe finds what the prompt names. `fad_`: the "
    "Fréchet distance of all clips from the reference set; `vendi`: how many distinct clips they amount to; "
    f"`{DENOISING}`: the training loss on real clips, with the same noise for every model."
)

log = logging.getLogger(__name__)


def measure(folder: Path, policy: Policy, pipeline: str, clips: Clips) -> None:
    """Measure a model by its clips of the held-out prompts, and write the figures to its folder.

    Nothing is written where the clips are too short or too few for a figure.

    Args:
        folder: of the model's scores.
        policy: the model.
        pipeline: the name of what was tuned.
        clips: what it made of the held-out prompts.
    """
    try:
        figures = figures_of(policy, pipeline, clips)
    except (AudioError, TooFewClipsError) as error:
        log.warning("no collateral: %s", error)
        return
    write_text(folder / FIGURES, json.dumps(figures, indent=2) + "\n")


@torch.no_grad()
def figures_of(policy: Policy, pipeline: str, clips: Clips) -> dict[str, float]:
    """Return the figures of a model by name; which there are depends on the pipeline."""
    if pipeline != EMBEDDED:
        return {name: float(compose(reward).metric(clips)) for name, reward in VARIETY.items()}
    rewards, real = {**DISTANCES, **VARIETY}, fitting_latents()
    figures = adherence(clips, Probe.load())
    figures |= {name: float(compose(reward).metric(clips)) for name, reward in rewards.items()}
    return figures if real is None else figures | {DENOISING: denoising_error(policy, real.latents, real.captions)}


@torch.no_grad()
def denoising_error(policy: Policy, latents: Tensor, prompts: Sequence[str]) -> float:
    """Return the mean denoising error of a policy on latents, at the levels of its training and with fixed noise.

    Args:
        policy: whose loss it is.
        latents: clean latents, (clips, ...).
        prompts: the text of each clip.
    """
    generator, errors = torch.Generator().manual_seed(SEED), []
    own = latents.to(policy.pipeline.device)
    draws = [policy.draw(own, generator) for _ in range(DRAWS)]
    for rows in torch.arange(len(own)).split(policy.batch):
        condition = policy.condition([prompts[row] for row in rows.tolist()])
        errors += [policy.denoising_error(own[rows], condition, draw.select(rows)) for draw in draws]
    return float(torch.cat(errors).double().mean())


def write_collateral(out: Path, folders: Mapping[str, Path]) -> pd.DataFrame | None:
    """Write the table of all models, CSV and Markdown, and return it; None where a model has no figures.

    Columns: run, the figures of `figures_of`, silence (share) and loudness (LUFS), means over the clips, and where
    musicnn is installed the mean of what each judge says of the clips, such as `musicnn_airs`.

    Args:
        out: the folder of the benchmark.
        folders: by run, the folder of its model; the untuned one first.

    Raises:
        DragonError: a file cannot be read.
    """
    if not all((folder / name).exists() for folder in folders.values() for name in (FIGURES, CONFOUNDERS)):
        return None
    judged = judged_means(list(folders.values()))
    rows = [
        {"run": run, **read_figures(folder), **sound(folder), **judged.get(run, {})} for run, folder in folders.items()
    ]
    table = pd.DataFrame(rows)
    write_table(out / COLLATERAL, table)
    return table


def read_figures(folder: Path) -> dict[str, float]:
    """Read the figures of a model that `measure` wrote.

    Raises:
        DragonError: the file cannot be read.
    """
    return read_json(folder / FIGURES, dict[str, float], AGAIN)


def sound(folder: Path) -> dict[str, float]:
    """Return the mean silence and loudness of a model's clips."""
    means = read_parquet(folder / CONFOUNDERS, MEASURED, AGAIN)[["silence", "loudness"]].mean()
    return {str(name): float(value) for name, value in means.items()}


def judged_means(folders: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Return by run the mean of what each judge says of its clips; nothing where a model was not judged."""
    frame = read_judgements(folders)
    if frame is None:
        return {}
    found: dict[str, dict[str, float]] = {}
    for row in frame.groupby(["run", "reward"], sort=False)["value"].mean().reset_index().to_dict("records"):
        name = RewardName.parse(row["reward"])
        found.setdefault(row["run"], {})[f"{name.encoder}_{name.exemplar_set}"] = row["value"]
    return found
