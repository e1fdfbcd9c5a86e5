"""Small inputs of real commands: sounds, configurations, suites, presets, grids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from pathlib import Path

RATE = 16_000
RUN = """
reward = "vendi:logmel"
steps = 2
prompts_per_step = 2
epochs = 1
demonstration_steps = 2
pool = 1
tuning = "{tuning}"
"""
WATCHED = """
heldout = ["per-song-fad:chroma@airs"]
heldout_prompts = 2
heldout_every = 2
"""
PRESET = """
heldout_prompts = 6
inference_steps = 2
subset_size = 2
rounds = 2
[train]
steps = 1
prompts_per_step = 2
epochs = 1
demonstration_steps = 2
learning_rate = 1e-3
"""
SUITE = """
[small]
summary = "a reward of clips and one of sets"
slots = ["per-song-fad:logmel@airs", "vendi:logmel"]
"""
GRID = """
question = "Does a loss help?"
preset = "preset.toml"
score = ["vendi:logmel"]
[axes]
objective = ["dpo", "kto"]
[settings]
reward = "per-song-fad:logmel@airs"
[[tables]]
name = "win_rate"
rows = ["objective"]
value = "win_rate"
[[figures]]
name = "gain"
kind = "bar"
x = "objective"
y = "gain"
"""
FACETS = """\
run,facet,untuned,tuned,p_value,finding,clip_1,clip_2,clip_3
vendi:logmel,facet 1,0.75,0.5,1.0,,a hymn (seed 1),a jig (seed 2),an air (seed 3)
vendi:logmel,facet 2,0.25,0.5,0.25,,a march (seed 4),a reel (seed 5),a polka (seed 6)
vendi:logmel,far,0.01,0.2,0.001,20% are like nothing before,a hymn (seed 1),a jig (seed 2),an air (seed 3)
"""
UNSEEN = [
    f"a {mood} {form} for the flute"
    for mood in ("slow", "quick", "sad", "gay")
    for form in ("air", "jig", "reel", "hymn")
]
TRAIN = ("train", "run.toml", "--out", "run")
EXAM = ("exam", "run", "--prompts", "unseen.txt", "--json")
BLEND = ("blend", "run", "--parts", 1, "--shares", "0.5,1", "--prompts", "unseen.txt", "--json")
BENCH = ("bench", "--suite", "suite.toml", "--preset", "preset.toml", "--workers", 1, "--out", "bench")
ABLATE = ("ablate", "losses.toml", "--workers", 1, "--out", "ablations")


def sound(seconds: float = 2.0, pitch: float = 220.0, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """A tone that sways, in noise: float32 (samples,)."""
    times, noise = np.arange(round(seconds * rate)) / rate, np.random.default_rng(seed)
    wave = 0.3 * np.sin(2 * np.pi * pitch * times * (1 + 0.02 * np.sin(3 * times)))
    return (wave + 0.01 * noise.normal(size=times.size)).astype("f4")


def write_sounds(folder: Path, names: str = "abc") -> Path:
    """A folder of a file for each letter, of pitches of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        place = ord(name) - ord("a")
        soundfile.write(folder / f"{name}.wav", sound(pitch=220.0 * (1 + place / 2), seed=place), RATE)
    return folder


def write_settings(folder: Path, tuning: str = "lora") -> None:
    """Files that commands are given: of a run, a suite, a preset and a grid."""
    texts = {"run": RUN.format(tuning=tuning), "suite": SUITE, "preset": PRESET, "losses": GRID}
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
