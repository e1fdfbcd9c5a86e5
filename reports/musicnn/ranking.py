"""Does an encoder know a style again? Held-out tracks of each set of real music, ranked among those of the others.

    python ranking.py

Half of the tracks of a set make its Gaussian. The per-song FAD of all held-out tracks of all sets from it is compared:
the AUC is the share of pairs, of a track of the set and a track of another, in which its own is nearer. The middle 30 s
of each track are heard. Writes ranking.csv and ranking.md beside itself. Music: see music.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from music import SETS, excerpt, halves, tracks

from dragon_rewards import load_registry
from dragon_rewards.metrics import Gaussian, per_song_fad
from dragon_rewards.storage.results import write_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

ENCODERS = ("musicnn", "musicnn-msd", "clap", "vae", "logmel", "chroma")
SECONDS = 30.0


def auc(own: Tensor, others: Tensor) -> float:
    """The share of pairs in which the first has the lower value; ties count half."""
    return float(((own[:, None] < others).double() + (own[:, None] == others).double() / 2).mean())


def frames_of(encoder: Any, paths: Sequence[Path], seconds: float) -> list[Tensor]:
    """The frames (frames, dim) of the middle of each track."""
    with torch.no_grad():
        return [encoder.encode_audio(excerpt(path, seconds)[None])[0] for path in paths]


def ranking(encoder: Any, sets: dict[str, list[Path]], seconds: float = SECONDS) -> dict[str, float]:
    """The AUC of each set."""
    parts = {name: [frames_of(encoder, half, seconds) for half in halves(paths)] for name, paths in sets.items()}
    found = {}
    for name, (known, held) in parts.items():
        gaussian = Gaussian.fit(torch.cat(known))
        others = [frames for other, (_, half) in parts.items() if other != name for frames in half]
        found[name] = auc(per_song_fad(held, gaussian), per_song_fad(others, gaussian))
    return found


def main() -> None:
    """A row for each encoder, a column for each set that is installed."""
    sets = {name: found for name in SETS if (found := tracks(name))}
    registry, rows = load_registry(), []
    for name in ENCODERS:
        aucs = ranking(registry.build_encoder(name), sets)
        rows.append({"encoder": name, **aucs, "mean": sum(aucs.values()) / len(aucs)})
        print(rows[-1], flush=True)
    print({name: len(paths) for name, paths in sets.items()})
    write_table(Path(__file__).parent / "ranking", pd.DataFrame(rows).round(2))


if __name__ == "__main__":
    main()
