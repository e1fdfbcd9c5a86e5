"""Write a page to listen to: ten prompts of the exam by `dragon sample`, beside real music that they describe.

    python samples.py WORK_DIR

The clips in WORK_DIR are from build_prompts.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import run
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import soundfile
from training import load_clips, to_float

from dragon_rewards.media.audio import read_audio
from dragon_train.embedded.prompts import prompts

if TYPE_CHECKING:
    from torch import Tensor

COUNT, RATE, OUT = 10, 16_000, Path(__file__).with_name("samples")
HEAD = """# Ten prompts to listen to

The first ten prompts of the exam, not chosen: as the embedded pipeline makes them by `dragon sample` with its defaults,
and real music that each describes, rendered from a score that was kept from training since release 0.1. Written by
`python samples.py WORK` ([the scripts](../README.md)).

| prompt | model | real |
|:--|:--|:--|
"""


def player(name: str) -> str:
    """A cell that plays a file, and links to it where there are no players."""
    return f'<audio controls preload="none" src="{name}"></audio> [{name}]({name})'


def write(name: str, audio: Tensor) -> str:
    """Write a clip as Ogg Vorbis, and return its cell."""
    soundfile.write(OUT / name, audio.flatten().numpy(), RATE, format="OGG", subtype="VORBIS")
    return player(name)


def main(work: Path) -> None:
    """Sample, write the sounds and the page."""
    OUT.mkdir(exist_ok=True)
    texts, real = prompts("exam")[:COUNT], to_float(load_clips(work, "real-tunebook")[:COUNT])
    with TemporaryDirectory() as made:
        run([sys.executable, "-m", "dragon_train.cli", "sample", *texts, "--out", made], check=True)  # noqa: S603
        clips = [read_audio(path)[0] for path in sorted(Path(made).glob("*.wav"))]
    rows = [
        f"| {text} | {write(f'{index}-model.ogg', clip)} | {write(f'{index}-real.ogg', heard)} |"
        for index, (text, clip, heard) in enumerate(zip(texts, clips, real, strict=True), 1)
    ]
    (OUT / "README.md").write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
