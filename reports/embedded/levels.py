"""Why more diffusion steps are quieter: how much of its target the denoiser answers, by noise level.

    python levels.py WORK_DIR

Prints, for real clips of `watch`, the slope of the target regressed on the answer (1 where it answers enough), and for
samples by several numbers of steps the deviation of their latents, beside the real clips' own, and the mean level.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from training import load_clips, load_rows, to_float

from dragon_train.embedded.pipeline import load_policy
from dragon_train.loop.rollout import generate
from dragon_train.protocols import Draw

if TYPE_CHECKING:
    from torch import Tensor

CLIPS, SIGMAS, STEPS = 32, (0.1, 0.3, 1.0, 3.0, 6.0, 12.0, 25.0, 50.0), (8, 16, 30, 60)


def slope(policy: Any, latents: Tensor, condition: Any, draw: Draw) -> float:
    """The slope of the denoiser's target on its answer, over all values of all clips."""
    asked = policy.noise.denoising_target(latents, draw)
    sample, *times = policy.inputs
    answer = policy.denoiser(**{sample: asked.sample, **dict.fromkeys(times, asked.time)}, **condition)[0]
    return float((asked.target * answer).sum() / answer.square().sum())


@torch.no_grad()
def main(work: Path) -> None:
    """Print the figures."""
    policy: Any = load_policy()
    audio, texts = to_float(load_clips(work, "watch")[:CLIPS]), [row["caption"] for row in load_rows(work, "watch")]
    latents = policy.pipeline.vae.encode(audio[:, None]).latent_dist.mode()
    condition, generator = policy.condition(texts[:CLIPS]), torch.Generator().manual_seed(0)
    print(f"real clips: deviation of latents {float(latents.std()):.3f}")
    for sigma in SIGMAS:
        draw = Draw(torch.randn(latents.shape, generator=generator), torch.full((CLIPS,), sigma))
        print(f"sigma {sigma}: slope {slope(policy, latents, condition, draw):.3f}", flush=True)
    for steps in STEPS:
        made = generate(policy, texts[:CLIPS], range(CLIPS), steps, 1.0)
        level = 10 * torch.cat([clip.view(1, -1) for clip in made.clips.media]).square().mean(1).log10().mean()
        print(f"{steps} steps: deviation {float(made.latents.std()):.3f}, level {float(level):.1f} dB", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
