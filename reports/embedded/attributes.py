"""What each attribute of a prompt is worth to the denoiser: how much more it errs where the prompt names another value.

    python attributes.py WORK_DIR

Of real clips of `watch`, by noise level. Prompts name all six attributes in their plainest words, and one of them is
replaced by another of its values, drawn at random. Prints the rise of the mean error as a share, and in brackets how
many of its standard errors it is from zero.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from training import load_clips, load_rows, to_float

from dragon_train.embedded.pipeline import load_policy
from dragon_train.embedded.words import ATTRIBUTES, WORDS
from dragon_train.protocols import Draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

CLIPS, DRAWS, SIGMAS = 192, 2, (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
PHRASING = "a {tempo} {form} on {instrument}, {density}, {register}, {mode}"


def prompts(values: Sequence[Mapping[str, str]], wrong: str | None = None) -> list[str]:
    """A prompt for each clip, with another value of the attribute `wrong`."""
    rng = random.Random(0)
    texts = []
    for own in values:
        said = dict(own)
        if wrong:
            said[wrong] = rng.choice([value for value in WORDS[wrong] if value != own[wrong]])
        texts.append(PHRASING.format(**{name: WORDS[name][said[name]][0] for name in ATTRIBUTES}))
    return texts


def errors(policy: Any, latents: Tensor, condition: Any, sigma: float) -> Tensor:
    """The denoising error of each clip, (clips,), mean over the same draws of noise for every condition."""
    generator = torch.Generator().manual_seed(0)
    noises = torch.randn(DRAWS, *latents.shape, generator=generator)
    level = torch.full((len(latents),), sigma)
    return torch.stack([policy.denoising_error(latents, condition, Draw(noise, level)) for noise in noises]).mean(0)


@torch.no_grad()
def main(work: Path) -> None:
    """Print the table."""
    policy: Any = load_policy()
    latents = policy.pipeline.vae.encode(to_float(load_clips(work, "watch")[:CLIPS])[:, None]).latent_dist.mode()
    values = [row["attributes"] for row in load_rows(work, "watch")[:CLIPS]]
    conditions = {wrong: policy.condition(prompts(values, wrong)) for wrong in (None, *ATTRIBUTES)}
    print("| sigma | error |", *(f"{name} |" for name in ATTRIBUTES))
    for sigma in SIGMAS:
        right, *others = (errors(policy, latents, condition, sigma) for condition in conditions.values())
        rises = [(other - right) for other in others]
        shown = [f"{r.mean() / right.mean():+.2%} ({r.mean() / (r.std() / CLIPS**0.5):.1f}) |" for r in rises]
        print(f"| {sigma} | {right.mean():.3f} |", *shown, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
