"""Render the audio of a shipped exemplar set again, so that it can serve further encoders.

    python set_audio.py WORK_DIR SOUNDFONT.sf2 tunebook OUT_DIR [PROCESSES]

The scores are parsed into WORK_DIR once, as corpus.py does. `dragon exemplars statistics tunebook OUT_DIR --encoder
vggish` takes what is written, and says whether it is the audio that the set was made of.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import soundfile
from corpus import SAMPLE_RATE, SPLITS, parse_all, plans_of, render_many, sources


def main(work: Path, soundfont: str, name: str, out: Path, processes: int) -> None:
    """Write a WAV file of each clip of the set."""
    for folder in (work, out):
        folder.mkdir(parents=True, exist_ok=True)
    plans = plans_of(sources(parse_all(work))[name], name, SPLITS[name])
    chunks = [plans[i : i + 64] for i in range(0, len(plans), 64)]
    with ProcessPoolExecutor(processes) as pool:
        rendered = pool.map(render_many, chunks, [soundfont] * len(chunks))
        for number, clip in enumerate(clip for chunk in rendered for clip in chunk):
            soundfile.write(out / f"{number:04}.wav", clip, SAMPLE_RATE)


if __name__ == "__main__":
    work, soundfont, name, out, *processes = sys.argv[1:]
    main(Path(work), soundfont, name, Path(out), int(*processes) if processes else os.cpu_count() or 1)
