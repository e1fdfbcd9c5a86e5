"""Parse public-domain scores and render them to captioned clips of 5.12 s at 16 kHz.

    python corpus.py WORK_DIR SOUNDFONT.sf2 [PROCESSES]

Scores: the corpus that music21 carries. Sound font: FluidR3 GM (MIT licence). Neither the scores nor the
clips are shipped; the README beside this file records their licences.
"""

from __future__ import annotations

import json
import os
import random
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from captions import FORMS, INSTRUMENTS, TEMPOS, describe

SAMPLE_RATE, RENDER_RATE, SAMPLES = 16_000, 32_000, 81_920  # 81,920 = 160 latents of 512 samples
# Clips. The training collections' pieces are split into those trained on and three parts that no model hears: exemplars
# (tunebook), prompts to watch and prompts of the exam. Aird's collection is never trained on.
SPLITS = {"tunebook": 1024, "airs": 1024, "watch": 1024, "exam": 1024, "train": 40_960}
HELD_OUT = {"tunebook": 1 / 8, "watch": 1 / 16, "exam": 1 / 16}  # shares of the pieces
SEED = 2504
FEWEST = 10  # pieces of a form
# Krumhansl and Kessler (1982), probe-tone profiles of a major and of a minor key.
MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])


def mode_of(notes: list[list[float]]) -> str:
    """Major or minor, by the better correlation of pitch-class durations with a rotated key profile."""
    weight = np.zeros(12)
    for _, duration, pitch in notes:
        weight[int(pitch) % 12] += duration
    fit = {
        name: max(np.corrcoef(weight, np.roll(profile, k))[0, 1] for k in range(12))
        for name, profile in (("major", MAJOR), ("minor", MINOR))
    }
    return max(fit, key=lambda name: fit[name])


def notes_of(score: Any) -> list[list[float]]:
    """[onset, duration, MIDI pitch] of every sounding note; onset and duration in quarter notes."""
    rows = []
    for element in score.flatten().notes:
        if "ChordSymbol" in element.classes or element.duration.quarterLength == 0:
            continue
        rows += [
            [float(element.offset), float(element.duration.quarterLength), float(pitch.midi)]
            for pitch in element.pitches
        ]
    return rows


def pieces_of(path: Path, collection: str) -> list[dict[str, Any]]:
    """Every piece of one score file that has a supported metre and enough notes; a broken score is left out."""
    from music21 import converter, stream  # slow to import: only the worker processes need it

    try:
        parsed = converter.parse(path)
    except Exception as error:  # noqa: BLE001  music21 raises many types on malformed ABC
        print(f"{path.name}: not parsed ({error})", file=sys.stderr)
        return []
    scores = list(parsed.scores) if isinstance(parsed, stream.Opus) else [parsed]
    pieces = []
    for number, score in enumerate(scores):
        metres = list(score.flatten().getElementsByClass("TimeSignature"))
        metre = metres[0].ratioString if metres else ""
        notes = notes_of(score)
        form = "chorale" if collection == "chorales" else FORMS.get(metre)
        if form is None or len(notes) < 24:
            continue
        pieces.append(
            {"id": f"{collection}/{path.stem}/{number}", "form": form, "mode": mode_of(notes), "notes": notes}
        )
    return pieces


def parse_all(out: Path) -> list[dict[str, Any]]:
    """Parse the four collections on all cores; the result is kept as JSON lines."""
    kept = out / "pieces.jsonl"
    if not kept.exists():
        from music21 import corpus

        folders = {"bach": "chorales", "ryansMammoth": "ryan", "oneills1850": "oneill", "airdsAirs": "aird"}
        files = [p for p in map(Path, corpus.getCorePaths()) if p.parent.name in folders and p.suffix != ".krn"]
        files = sorted(p for p in files if p.parent.name != "bach" or p.stem.startswith("bwv"))
        with ProcessPoolExecutor(2) as pool:
            lists = pool.map(pieces_of, files, [folders[p.parent.name] for p in files], chunksize=4)
            lines = [json.dumps(piece) for pieces in lists for piece in pieces]
        kept.write_text("\n".join(lines))
    return [json.loads(line) for line in kept.read_text().splitlines()]


def clip_plan(piece: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Choose instrument, tempo, transposition and excerpt of one clip, and derive its attributes."""
    tempo = rng.choice(sorted(TEMPOS))
    instrument = rng.choice(sorted(INSTRUMENTS))
    seconds_per_quarter = 60 / rng.randint(*TEMPOS[tempo])
    quarters = SAMPLES / SAMPLE_RATE / seconds_per_quarter
    notes = sorted(piece["notes"])
    last = max(onset + duration for onset, duration, _ in notes)
    start = rng.choice([onset for onset, _, _ in notes if onset <= max(0.0, last - quarters)])
    shift = rng.randint(-5, 6)
    inside = [
        [(onset - start) * seconds_per_quarter, duration * seconds_per_quarter, pitch + shift]
        for onset, duration, pitch in notes
        if start <= onset < start + quarters
    ]
    onsets = len({onset for onset, _, _ in inside}) / (SAMPLES / SAMPLE_RATE)
    pitch = float(np.mean([pitch for _, _, pitch in inside]))
    attributes = {
        "instrument": instrument,
        "tempo": tempo,
        "form": piece["form"],
        "mode": piece["mode"],
        "density": "sparse" if onsets < 2.5 else "even" if onsets < 5 else "busy",
        "register": "low" if pitch < 63 else "middle" if pitch < 73 else "high",
        "collection": piece["id"].split("/")[0],
    }
    return {"piece": piece["id"], "attributes": attributes, "caption": describe(attributes, rng), "notes": inside}


@cache
def synthesiser(soundfont: str) -> tuple[Any, int]:
    """One synthesiser per process: loading the sound font takes longer than playing a clip."""
    import tinysoundfont

    synth = tinysoundfont.Synth(samplerate=RENDER_RATE)
    return synth, synth.sfload(soundfont)


def render(plan: dict[str, Any], soundfont: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Play one plan: mono float32 at 16 kHz, peak 0.7."""
    synth, font = synthesiser(soundfont)
    synth.sounds_off(0)  # no tail of the clip before
    synth.program_select(0, font, 0, INSTRUMENTS[plan["attributes"]["instrument"]])
    events = [(on, True, p) for on, d, p in plan["notes"]]
    events += [(on + 0.95 * d, False, p) for on, d, p in plan["notes"]]
    parts, now, total = [], 0, SAMPLES * RENDER_RATE // SAMPLE_RATE
    for time, is_on, pitch in sorted(events):
        then = min(int(time * RENDER_RATE), total)
        if then > now:
            parts.append(np.frombuffer(bytes(synth.generate(then - now)), np.float32))
            now = then
        if is_on:
            synth.noteon(0, int(pitch), 100)
        else:
            synth.noteoff(0, int(pitch))
    parts.append(np.frombuffer(bytes(synth.generate(total - now)), np.float32))
    mono = np.concatenate(parts).reshape(-1, 2).mean(axis=1)
    audio = soxr.resample(mono, RENDER_RATE, SAMPLE_RATE)[:SAMPLES]
    return np.asarray(0.7 * audio / max(1e-6, float(np.abs(audio).max())), np.float32)


def render_many(plans: list[dict[str, Any]], soundfont: str) -> np.ndarray[Any, np.dtype[np.int16]]:
    """A chunk of clips as int16, the form in which the corpus is kept on disk."""
    return np.stack([(render(plan, soundfont) * 32767).astype(np.int16) for plan in plans])


def sources(pieces: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The pieces of each split; no piece is in two."""
    shuffled = random.Random(SEED).sample(pieces, len(pieces))
    known = [piece for piece in shuffled if not piece["id"].startswith("aird/")]
    found, start = {"airs": [piece for piece in shuffled if piece["id"].startswith("aird/")]}, 0
    for split, share in HELD_OUT.items():
        end = start + int(share * len(known))
        found[split], start = known[start:end], end
    return found | {"train": known[start:]}


def plans_of(pieces: list[dict[str, Any]], split: str, count: int) -> list[dict[str, Any]]:
    """Clips with forms in equal numbers; forms of fewer than ten pieces are left out."""
    rng = random.Random(f"{SEED} {split}")
    by_form: dict[str, list[dict[str, Any]]] = {}
    for piece in pieces:
        by_form.setdefault(piece["form"], []).append(piece)
    forms = sorted(form for form in by_form if len(by_form[form]) >= FEWEST)
    return [clip_plan(rng.choice(by_form[rng.choice(forms)]), rng) for _ in range(count)]


def main(out: Path, soundfont: str, processes: int) -> None:
    """Write pieces.jsonl, and for each split SPLIT.npy (clips, samples) and SPLIT.jsonl."""
    out.mkdir(parents=True, exist_ok=True)
    pieces = sources(parse_all(out))
    with ProcessPoolExecutor(processes) as pool:
        for split, count in SPLITS.items():
            plans = plans_of(pieces[split], split, count)
            chunks = [plans[i : i + 64] for i in range(0, count, 64)]
            clips = np.lib.format.open_memmap(out / f"{split}.npy", "w+", np.int16, (count, SAMPLES))
            for i, made in enumerate(pool.map(render_many, chunks, [soundfont] * len(chunks))):
                clips[64 * i : 64 * i + 64] = made
            clips.flush()
            rows = [{k: plan[k] for k in ("piece", "attributes", "caption")} for plan in plans]
            (out / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
            print(split, count, "clips of", len(pieces[split]), "pieces", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if sys.argv[3:] else os.cpu_count() or 1)
