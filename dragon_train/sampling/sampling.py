"""Generate clips into a folder that `dragon score` reads: media files and their prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dragon_rewards.terminal.progress import progress
from dragon_train.loop.tuning import load_policy
from dragon_train.prompt_table import columns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import torch
    from torch import Tensor

    from dragon_train.descriptors import PipelineInfo
    from dragon_train.protocols import Policy
    from dragon_train.sampling.clip_folder import ClipFolder


def sample_to_folder(
    info: PipelineInfo,
    run: Path | None,
    prompts: Sequence[str],
    out: ClipFolder,
    device: torch.device,
    *,
    steps: int,
    guidance: float,
    seed: int,
) -> list[dict[str, Any]]:
    """Sample one clip per prompt, write one file for each and `prompts.csv`, and return a row per clip.

    Args:
        info: the pipeline that samples.
        run: the folder of a finished run whose weights it gets; None for the pipeline as it is.
        prompts: one text for each clip; the columns that it has go into `prompts.csv`, too.
        out: where the clips go.
        device: where the pipeline computes.
        steps: the number of diffusion steps.
        guidance: the strength of classifier-free guidance; 1 is none.
        seed: the seed of the first clip; each further clip has the next.

    Raises:
        DragonError: a prompt is empty, or `run` is no finished run of this pipeline.
    """
    seeds = range(seed, seed + len(prompts))
    rows = [
        {"prompt": str(prompt), "seed": number, **columns_of(prompt)}
        for prompt, number in zip(prompts, seeds, strict=True)
    ]
    with progress("sampling", "clips", len(prompts)) as bar:
        policy = load_policy(info, run, device, prompts)
        return out.write(policy, sampled(policy, prompts, seeds, steps, guidance, bar.advance), rows, seeds)


def sampled(
    policy: Policy,
    prompts: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    guidance: float,
    on_clip: Callable[[], object],
) -> Iterator[Tensor]:
    """Yield the latents of one clip after the other; they are sampled in batches."""
    for start in range(0, len(prompts), policy.batch):
        part = slice(start, start + policy.batch)
        for own in policy.sample(prompts[part], seeds[part], steps, guidance):
            yield own
            on_clip()
