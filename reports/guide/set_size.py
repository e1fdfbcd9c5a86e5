"""What a small exemplar set knows: its distance to more of the same sound, and whether it ranks music as it should.

python reports/guide/set_size.py SCRATCH     # writes set_size.csv and set_size.md; clips that are in SCRATCH are kept

Two sounds. A narrow one is what the embedded model makes of the captions that name the organ: 300 clips are the pool
from which sets are drawn, 250 further ones are what the sets should know, and 128 clips of held-out captions are what a
policy makes. The broad one is the captions of `airs`: 300 in the pool, 700 to know; a policy's are of `tunebook`.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from dragon_rewards import Clips, compose
from dragon_rewards.exemplars import captions
from dragon_rewards.media.audio import read_audio, write_audio
from dragon_rewards.metrics import Gaussian, frechet_distance, per_song_fad
from dragon_rewards.registry import load_registry
from dragon_rewards.storage.results import write_table
from dragon_train.embedded.prompts import prompts
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from dragon_rewards.protocols import TextEncoder

HERE = Path(__file__).parent
STEPS, BATCH, RATE = 8, 50, 16_000
POOL, KNOWN, POLICY = 300, 250, 128
BROAD = 1000
SIZES, DRAWS, SET, SETS = (10, 30, 100, 300), 10, 16, 100


def generated(texts: Sequence[str], seed: int, folder: Path) -> list[Path]:
    """A file for each prompt, made by the embedded model where it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{row:04d}.wav" for row in range(len(texts))]
    missing = [row for row, path in enumerate(paths) if not path.exists()]
    policy = load_train_registry().pipeline("embedded").factory()
    for start in range(0, len(missing), BATCH):
        rows = missing[start : start + BATCH]
        latents = policy.sample([texts[row] for row in rows], [seed + row for row in rows], STEPS, 1.0)
        for row, clip in zip(rows, policy.decode(latents), strict=True):
            write_audio(paths[row], clip, RATE)
    return paths


def frames(paths: Sequence[Path]) -> list[Tensor]:
    """The frames of each clip, in the space of `clap`, (frames, dim)."""
    clips = Clips([read_audio(path)[0] for path in paths], RATE)
    return [clip.double() for clip in compose("vendi:clap").embeddings(clips).frames]


def described(name: str) -> list[Tensor]:
    """The captions of a set in the space of `clap`, a frame each, in random order."""
    registry = load_registry()
    texts = captions(registry.exemplar_set(name))
    encoder = cast("TextEncoder", registry.build_encoder("clap"))
    return list(encoder.encode_text(random.Random(0).sample(texts, BROAD)).double()[:, None])


def gaussian(clips: Sequence[Tensor]) -> Gaussian:
    """Of all frames."""
    return Gaussian.fit(torch.cat(list(clips)))


def distance(clips: Sequence[Tensor], reference: Gaussian) -> float:
    """The dataset FAD."""
    return float(frechet_distance(gaussian(clips), reference))


def clip_distances(clips: Sequence[Tensor], reference: Gaussian) -> list[float]:
    """Per-song FAD; of a caption, which is one frame and has no spread, its distance from the mean."""
    if len(clips[0]) == 1:
        return (torch.cat(list(clips)) - reference.mean).square().sum(1).tolist()
    return per_song_fad(clips, reference).tolist()


def knowledge(size: int, pool: list[Tensor], known: list[Tensor], made: list[Tensor]) -> dict[str, float]:
    """Figures of sets of one size; means over the draws."""
    rng = np.random.default_rng(0)
    sets = [[made[i] for i in rng.choice(len(made), SET, replace=False)] for _ in range(SETS)]
    truth = gaussian(known)
    wanted = [distance(each, truth) for each in sets], clip_distances(made, truth)
    rows = []
    for _ in range(DRAWS if size < len(pool) else 1):
        drawn = gaussian([pool[i] for i in rng.choice(len(pool), size, replace=False)])
        given = [distance(each, drawn) for each in sets], clip_distances(made, drawn)
        ranks = [spearmanr(a, b).statistic for a, b in zip(given, wanted, strict=True)]
        rows.append([distance(known, drawn), distance(made, drawn), *ranks])
    columns = ["same_sound", "policy", "rank_of_sets", "rank_of_clips"]
    return dict(zip(columns, np.mean(rows, 0), strict=True))


def main() -> None:
    """Generate, measure, write the table."""
    scratch = Path(sys.argv[1])
    organ = [text for text in prompts("train") if "organ" in text]
    texts = [organ[i % len(organ)] for i in range(POOL + KNOWN)]
    sound = frames(generated(texts, 10_000, scratch / "pool"))
    made = frames(generated(prompts("watch")[:POLICY], 90_000, scratch / "policy"))
    broad = described("airs-captions")
    cases = {
        "narrow": (sound[:POOL], sound[POOL:], made),
        "broad": (broad[:POOL], broad[POOL:], described("tunebook-captions")),
    }
    rows = [
        {"sound": name, "exemplars": size, **knowledge(size, *case)} for name, case in cases.items() for size in SIZES
    ]
    write_table(HERE / "set_size", pd.DataFrame(rows))


if __name__ == "__main__":
    main()
