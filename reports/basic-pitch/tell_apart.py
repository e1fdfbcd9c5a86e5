"""Do notes as basic-pitch hears them tell held-out styles apart better than `chroma` does?

    python tell_apart.py WORK_DIR

WORK_DIR is the folder that ../embedded/corpus.py filled: 64 clips each of `airs` and `tunebook` are heard. The other
pair of sets is real music, of ../musicnn/music.py: three pieces of 10 s of each track. Sets are split by track.

The AUC is the one of `dragon exemplars judge`: the share of pairs, of a held-out track of a set and a track of the
other, in which the first is nearer to the other half of the set by per-song FAD; here as a mean of ten splits in
halves. Each pair of sets has two, one for either set. Intervals are of a bootstrap over tracks, with the same tracks
for all encoders.

The rule, stated before anything was measured: a candidate is built as a plugin if the mean of its four AUCs is above
`chroma`'s by more than chance (one-sided, 5% divided by the six candidates), above 0.5 by more than chance, and in
neither pair of sets below `chroma`'s. Writes apart.csv and apart.md beside itself.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import soundfile
import torch
from notes import CANDIDATES, RATE, Notes

from dragon_rewards import load_registry
from dragon_rewards.media.clips import resample, to_mono
from dragon_rewards.metrics import Gaussian, per_song_fad
from dragon_rewards.storage.results import write_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from numpy.typing import NDArray
    from torch import Tensor

    Track: TypeAlias = list[tuple[Tensor, int]]  # pieces, mono, with their rates
    Heard: TypeAlias = list[Tensor]  # the frames of each track
    # Of each pair of sets, how often a track of the first is nearer to it than one of the second; and the other way.
    Compared: TypeAlias = list[tuple[NDArray[np.float64], NDArray[np.float64]]]

sys.path.insert(0, str(Path(__file__).parents[1] / "musicnn"))
from music import tracks

BASELINES = ("chroma", "logmel", "clap", "vae", "musicnn")
PAIRS = (("airs", "tunebook"), ("singularity", "warzone2100"))
CLIPS, CLIP_RATE, SECONDS, PLACES = 64, 16_000, 10.0, (0.25, 0.5, 0.75)
SPLITS, RESAMPLES, LEVEL = 10, 5000, 0.05


def rendered(work: Path, name: str) -> list[Track]:
    """Clips of a shipped set, a piece each."""
    clips = np.load(work / f"{name}.npy", mmap_mode="r")[:CLIPS]
    return [[(torch.from_numpy(clip / np.float32(2**15)), CLIP_RATE)] for clip in clips]


def recorded(path: Path) -> Track:
    """Pieces of a file about the quarters of its length."""
    with soundfile.SoundFile(path) as sound:
        found = []
        for place in PLACES:
            sound.seek(int(place * sound.frames - SECONDS / 2 * sound.samplerate))
            audio = sound.read(int(SECONDS * sound.samplerate), dtype="float32", always_2d=True)
            found.append((to_mono(torch.from_numpy(audio.T)), sound.samplerate))
        return found


def heard_by_encoder(name: str, sets: Mapping[str, list[Track]]) -> dict[str, Heard]:
    """The frames of all tracks by a registered encoder."""
    encoder: Any = load_registry().build_encoder(name)
    rate = load_registry().encoder(name).sample_rate

    def frames(track: Track) -> Tensor:
        return torch.cat([encoder.encode_audio(resample(audio, own, rate)[None])[0] for audio, own in track])

    return {name: [frames(track) for track in found] for name, found in sets.items()}


def heard_as_notes(sets: Mapping[str, list[Track]]) -> dict[str, dict[str, Heard]]:
    """The frames of all tracks by each candidate; the network is asked once."""
    network = Notes()
    asked = {
        name: [[network.hear(resample(audio, own, RATE)) for audio, own in track] for track in found]
        for name, found in sets.items()
    }
    return {
        candidate: {
            name: [torch.cat([pooling(*piece) for piece in track]) for track in found] for name, found in asked.items()
        }
        for candidate, pooling in CANDIDATES.items()
    }


def nearer(own: Heard, foreign: Heard) -> NDArray[np.float64]:
    """How often, over splits, each own track when held out is nearer than each foreign one, (own, foreign)."""
    wins = torch.zeros(len(own), len(foreign), dtype=torch.float64)
    for seed in range(SPLITS):
        order = torch.randperm(len(own), generator=torch.Generator().manual_seed(seed)).tolist()
        halves = order[: len(own) // 2], order[len(own) // 2 :]
        for known, held in (halves, halves[::-1]):
            reference = Gaussian.fit(torch.cat([own[at] for at in known]))
            near, far = per_song_fad([own[at] for at in held], reference), per_song_fad(foreign, reference)
            wins[held] += (near[:, None] < far).double() + (near[:, None] == far).double() / 2
    return (wins / SPLITS).numpy()


def directions(heard: Mapping[str, Heard]) -> Compared:
    """Of each pair of sets the comparisons for the first and for the second, both (first, second)."""
    return [(nearer(heard[one], heard[two]), nearer(heard[two], heard[one]).T) for one, two in PAIRS]


def resampled(found: Compared, seed: int) -> NDArray[np.float64]:
    """The mean AUC in each resample of tracks, (resamples,)."""
    generator, means = np.random.default_rng(seed), []
    for _ in range(RESAMPLES):
        drawn = [np.ix_(*(generator.integers(0, size, size) for size in one.shape)) for one, _ in found]
        means.append(np.mean([each[at].mean() for pair, at in zip(found, drawn, strict=True) for each in pair]))
    return np.asarray(means)


def row(name: str, found: Mapping[str, Compared], draws: Mapping[str, NDArray[np.float64]]) -> dict[str, object]:
    """The figures of an encoder, with p values, one-sided, of chance and of being no better than chroma."""
    aucs = np.array([[each.mean() for each in pair] for pair in found[name]])
    base = np.array([[each.mean() for each in pair] for pair in found["chroma"]])
    chance, behind = float((draws[name] <= 0.5).mean()), float((draws[name] <= draws["chroma"]).mean())
    passes = max(chance, behind) < LEVEL / len(CANDIDATES) and bool((aucs.mean(1) >= base.mean(1)).all())
    titles = [f"{own} ({other})" for one, two in PAIRS for own, other in ((one, two), (two, one))]
    return {
        "encoder": name,
        **dict(zip(titles, aucs.flatten(), strict=True)),
        "mean": aucs.mean(),
        "low": np.quantile(draws[name], 0.05),
        "high": np.quantile(draws[name], 0.95),
        "p (chance)": chance,
        "over chroma": aucs.mean() - base.mean(),
        "p (chroma)": behind if name != "chroma" else None,
        "passes": ("yes" if passes else "no") if name in CANDIDATES else "",
    }


@torch.no_grad()
def main(work: Path) -> None:
    """A row for each candidate, and for each encoder beside them."""
    sets = {name: rendered(work, name) for name in PAIRS[0]}
    sets |= {name: [recorded(path) for path in tracks(name)] for name in PAIRS[1]}
    print({name: len(found) for name, found in sets.items()}, flush=True)
    found = {name: directions(heard) for name, heard in heard_as_notes(sets).items()}
    for name in BASELINES:
        found[name] = directions(heard_by_encoder(name, sets))
        print(name, flush=True)
    draws = {name: resampled(each, 0) for name, each in found.items()}
    table = pd.DataFrame([row(name, found, draws) for name in found]).round(3)
    write_table(Path(__file__).parent / "apart", table)
    print(table.to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
