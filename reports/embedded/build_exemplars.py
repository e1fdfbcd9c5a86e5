"""Write the five shipped exemplar sets.

    python build_exemplars.py WORK_DIR

Audio sets keep captions, statistics and the mean frame of each clip, no audio. Captions have the phrasings of training,
so that prompts to watch and of the exam have others.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from captions import PHRASINGS, describe
from descriptions import descriptions
from training import load_clips, load_rows, to_float

from dragon_rewards import load_registry
from dragon_rewards.builtin import shipped_sets
from dragon_rewards.embedded.clap import load_encoder
from dragon_rewards.exemplars import Statistics, write_exemplar_set
from dragon_rewards.exemplars.points import SUFFIX
from dragon_rewards.metrics import Gaussian
from dragon_rewards.protocols import ExemplarSetInfo, Modality
from dragon_rewards.storage.tensor_files import write_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

LICENCES = {
    Modality.AUDIO: "scores: public domain; encodings: with music21, by permission; captions and statistics: CC0-1.0",
    Modality.TEXT: "CC0-1.0",
}
AUDIO_SETS = {
    "tunebook": (
        "held-out pieces of the training collections (Bach chorales, Ryan's Mammoth, O'Neill's), on ten instruments",
        "rendered by reports/embedded/corpus.py from scores that the embedded models never saw",
    ),
    "airs": (
        "a collection never trained on (Aird's Airs, Glasgow, from 1778), on ten instruments",
        "rendered by reports/embedded/corpus.py",
    ),
}


def audio_statistics(clips: Any) -> tuple[dict[str, Statistics], dict[str, torch.Tensor]]:
    """The Gaussian of all frames of all clips, and the mean frame of each clip, for each built-in encoder."""
    registry, made, means = load_registry(), {}, {}
    for name in ("vae", "clap", "logmel", "chroma"):
        encoder: Any = registry.build_encoder(name)
        parts = [encoder.encode_audio(to_float(clips[i : i + 64])) for i in range(0, len(clips), 64)]
        made[name] = Statistics(Gaussian.fit(torch.cat(parts).flatten(0, 1)), encoder.identity)
        means[name] = torch.cat(parts).mean(1)
    return made, means


def text_statistics(captions: Sequence[str]) -> dict[str, Statistics]:
    """The Gaussian of captions in the text tower of `clap`."""
    encoder = load_encoder()
    return {"clap": Statistics(Gaussian.fit(encoder.encode_text(captions)), encoder.identity)}


def write(name: str, modality: Modality, about: tuple[str, str], captions: Sequence[str], clips: Any = None) -> None:
    """One folder under exemplar_sets/."""
    summary, provenance = about
    folder = shipped_sets() / name
    info = ExemplarSetInfo(name, modality, len(captions), LICENCES[modality], summary, folder)
    statistics, means = (text_statistics(captions), {}) if clips is None else audio_statistics(clips)
    manifest = write_exemplar_set(info, provenance, captions, statistics)
    print(manifest)
    for encoder, points in means.items():
        marks = {"identity": statistics[encoder].identity, "items": manifest.sha256}
        write_tensors(folder / f"{encoder}{SUFFIX}", {"points": points.half()}, marks)


@torch.no_grad()
def main(work: Path) -> None:
    """All sets."""
    for name, about in AUDIO_SETS.items():
        clips, rows = load_clips(work, name), load_rows(work, name)
        rng = random.Random(name)
        captions = [describe(row["attributes"], rng, PHRASINGS["train"]) for row in rows]
        write(name, Modality.AUDIO, about, captions, clips)
        text = (f"captions of the clips of '{name}'", "reports/embedded/captions.py")
        write(f"{name}-captions", Modality.TEXT, text, captions)
    taste = ("ungrounded: slow, sad church and evening music, described with no audio behind it", "written by hand")
    write("descriptions", Modality.TEXT, taste, descriptions())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
