"""Fit the codebook to the embedded autoencoder's latents, and train the masked transformer on their tokens.

    python train_tokens.py WORK_DIR OUT_DIR --state STATE       # [--device cuda] [--minutes 60]

It begins with the weights of the embedded diffusion transformer, which knows these latents and prompts, and whose text
encoder stays as it is; with --state it goes on. The loss is the trainer's own `denoising_error`: cross-entropy of
masked tokens at shares that are uniform on (0, 1). A tenth of the conditions are dropped for guidance. The latents of
all clips are kept in WORK_DIR/latents.npy.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from train_denoiser import CAPTIONS, Conditions
from training import Fit, Job, asked, load_clips, load_rows, options, to_float, tokens_of

from dragon_train.embedded.pipeline import load_pipeline
from dragon_train.masked.codebook import ProductCodebook
from dragon_train.masked.pipeline import MaskedAudioPipeline
from dragon_train.masked.scheduler import MaskedScheduler
from dragon_train.masked.transformer import MaskedAudioTransformer
from dragon_train.pipelines.masked_audio import MaskedAudioPolicy

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers import StableAudioPipeline
    from torch import Tensor

STEPS, BATCH, SEED, RATE = 10_000, 32, 17, 1e-3
FITTED, ROUNDS = 150_000, 25  # frames that the codebook is fitted to, and rounds of Lloyd's algorithm


@torch.no_grad()
def latents_of(work: Path, pipeline: StableAudioPipeline) -> Tensor:
    """Latents of all clips, (clips, 128, 80), as float16; from the file where there is one."""
    path, clips = work / "latents.npy", load_clips(work, "train")
    if not path.exists():
        parts = [pipeline.vae.encode(to_float(part)[:, None]).latent_dist.mode().half() for part in clips.split(64)]
        np.save(work / "latents.partial.npy", torch.cat(parts).numpy())
        (work / "latents.partial.npy").replace(path)
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def fit_codebook(latents: Tensor, codebook: ProductCodebook, generator: torch.Generator) -> None:
    """Fit rotation and centroids (optimized product quantization, parametric solution).

    The rotation goes to principal axes; each goes to the group with the least product of variances that has room.
    """
    frames = latents[torch.randperm(len(latents), generator=generator)[: FITTED // latents.shape[2] + 1]].float()
    frames = frames.mT.flatten(0, 1)
    variances, axes = torch.linalg.eigh(frames.mT @ frames / len(frames))
    groups: list[list[int]] = [[] for _ in range(codebook.groups)]
    for axis in variances.argsort(descending=True).tolist():
        room = [group for group in groups if len(group) < len(variances) // codebook.groups]
        min(room, key=lambda group: float(variances[group].log().sum())).append(axis)
    codebook.rotation.copy_(axes.mT[[axis for group in groups for axis in group]])
    parts = codebook.rotate(frames.mT[None])[0].movedim(2, 1)  # (groups, frames, size)
    for group, part in enumerate(parts):
        codebook.centroids[group] = k_means(part, codebook.vocabulary, generator)


def k_means(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Centroids of points (points, size) by Lloyd's algorithm, from random points on; an empty one begins anew."""
    centroids = points[torch.randperm(len(points), generator=generator)[:count]]
    for _ in range(ROUNDS):
        nearest = torch.cat([torch.cdist(part, centroids).argmin(1) for part in points.split(1 << 14)])
        members = torch.bincount(nearest, minlength=count)[:, None]
        sums = torch.zeros_like(centroids).index_add_(0, nearest, points)
        fresh = points[torch.randint(len(points), (count,), generator=generator)]
        centroids = torch.where(members > 0, sums / members.clamp(min=1), fresh)
    return centroids


def build(pipeline: StableAudioPipeline, latents: Tensor) -> MaskedAudioPolicy:
    """The policy over tokens, its body as the embedded diffusion transformer is."""
    codebook, transformer = ProductCodebook(), MaskedAudioTransformer()
    fit_codebook(latents, codebook, torch.Generator().manual_seed(SEED))
    transformer.body.load_state_dict(pipeline.transformer.state_dict())
    nn.init.zeros_(transformer.mark.weight)
    kept = pipeline.vae, pipeline.text_encoder, pipeline.projection_model, pipeline.tokenizer
    return MaskedAudioPolicy(MaskedAudioPipeline(*kept, transformer, MaskedScheduler(), codebook))


def save(policy: MaskedAudioPolicy, out: Path) -> None:
    """What the embedded pipeline has not: the transformer as float16, and codebook and scheduler as they are."""
    deepcopy(policy.pipeline.transformer).half().save_pretrained(out / "transformer")
    policy.pipeline.codebook.save_pretrained(out / "codebook")
    policy.pipeline.scheduler.save_pretrained(out / "scheduler")
    for path in out.glob("*/config.json"):
        kept = json.loads(path.read_text(encoding="utf-8"))
        kept.pop("_name_or_path", None)  # a path of the machine that it was trained on
        path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def main(job: Job) -> None:
    """Fit, train, store."""
    torch.manual_seed(SEED)
    rows, pipeline = load_rows(job.work, "train"), load_pipeline()
    words = tokens_of(rows, CAPTIONS, SEED).to(job.device)
    latents = latents_of(job.work, pipeline)
    policy = build(pipeline, latents)
    policy.pipeline.to(job.device)
    conditions, transformer = Conditions(policy, job.batch, job.device), policy.pipeline.transformer
    transformer.requires_grad_(True)
    transformer.body.time_proj.requires_grad_(False)  # fixed random frequencies
    fit = Fit("tokens", transformer, job, 0.999, SEED)
    for _ in fit:
        chosen = torch.randint(len(rows), (job.batch,), generator=fit.generator, device=job.device)
        caption = torch.randint(CAPTIONS, (job.batch,), generator=fit.generator, device=job.device)
        target = latents[chosen.cpu()].to(job.device).float()
        with torch.autocast(job.device.type, torch.bfloat16):
            with torch.no_grad():
                condition = conditions(words[chosen, caption].long(), fit.generator)
            draw = policy.draw(target, torch.Generator().manual_seed(fit.done))
            loss = policy.denoising_error(target, condition, draw).mean()
        fit.step(loss)
    fit.swap_average()
    save(policy, job.out)
    fit.report(seed=SEED, clips=len(rows), parameters=sum(p.numel() for p in transformer.parameters()))


if __name__ == "__main__":
    main(asked(options(__doc__, STEPS, BATCH, RATE).parse_args()))
