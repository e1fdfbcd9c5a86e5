"""What each encoder hears of real music: the table of `dragon exemplars judge` for the soundtracks of two games.

    apt-get install singularity-music warzone2100-music
    pip install ./plugins/dragon-reward-musicnn
    python judge.py

The tracks are the middle 30 s of the files that ../musicnn/music.py finds; none is copied. Each game is judged against
the other. Writes judged.csv and judged.md beside itself.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from dragon_rewards import load_registry
from dragon_rewards.compute.devices import CPU
from dragon_rewards.evaluation.hearing import Ear, hear
from dragon_rewards.evaluation.tracks import Track
from dragon_rewards.storage.results import write_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

sys.path.insert(0, str(Path(__file__).parents[1] / "musicnn"))
from music import RATE, excerpt, tracks

GAMES = ("singularity", "warzone2100")
ENCODERS = ("musicnn", "musicnn-msd", "vae", "clap", "logmel", "chroma")
SECONDS, SEED = 30.0, 0


def music(name: str) -> list[Track]:
    """The middle of each track of a game; none where its package is not installed."""
    return [Track(path.name, excerpt(path, SECONDS), RATE) for path in tracks(name)]


def judged(encoders: Iterable[str], own: Sequence[Track], other: Sequence[Track]) -> pd.DataFrame:
    """A row for each encoder, with what it hears of a set beside another."""
    found = [hear(Ear(name, load_registry(), CPU, SEED, lambda _: None), own, other) for name in encoders]
    return pd.DataFrame([{"encoder": each.encoder, "hears": str(each.verdict), **asdict(each)} for each in found])


def main() -> None:
    """Judge the music of each game by all encoders, and write what is known after each game."""
    sets, table = {name: music(name) for name in GAMES}, pd.DataFrame()
    for name, other in (GAMES, GAMES[::-1]):
        found = judged(ENCODERS, sets[name], sets[other])
        found.insert(0, "set", name)
        table = pd.concat([table, found.round(3)], ignore_index=True)
        write_table(Path(__file__).parent / "judged", table)
        print(table.to_string(), flush=True)


if __name__ == "__main__":
    main()
