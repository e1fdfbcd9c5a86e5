"""With VGGish and EnCodec, statistics of the tunebook for them, and a head of ratings, dragon20 needs no stand-in.

The checkpoints are of the real classes with random weights, saved where a user puts the released ones. The tunebook is
a miniature of a few sounds, as no audio of the shipped set is at hand.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch
from support.environments import Environment
from support.installation import ROOT, copied_core, shared

from dragon_rewards import Clips, ExemplarSetInfo, Modality, load_registry
from dragon_rewards.exemplars import Statistics, write_exemplar_set
from dragon_rewards.media.audio import write_audio
from dragon_rewards.metrics import Gaussian
from dragon_rewards.suites import load_suite
from dragon_rewards.testing.sounds import sounds

pytestmark = pytest.mark.slow

PACKAGES = [ROOT / "plugins" / f"dragon-reward-{name}" for name in ("vggish", "encodec")]
RATE, SECONDS, COUNT = 16_000, 5.12, 20
SAVE = {
    "vggish": "torch.save(conftest.random_network().state_dict(), folder / conftest.FILE)",
    "encodec": "conftest.random_model('encodec').save_pretrained(folder)",
}
PRESET = """
heldout_prompts = 6
inference_steps = 2
subset_size = 2
rounds = 2
[train]
steps = 1
prompts_per_step = 4
epochs = 1
demonstration_steps = 2
"""
OWN = [slot.reward for slot in load_suite("dragon20").slots if slot.stand_in]


def save_checkpoint(name: str, environment: Environment, weights: Path) -> None:
    """Save the checkpoint that the package's own tests are run with."""
    (weights / name).mkdir(parents=True)
    source = f"import sys, torch, conftest; from pathlib import Path; folder = Path(sys.argv[1]); {SAVE[name]}"
    command = [environment.python, "-c", source, str(weights / name)]
    tests = ROOT / "plugins" / f"dragon-reward-{name}" / "tests"
    done = subprocess.run(command, cwd=tests, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def write_tunebook(folder: Path, audio: torch.Tensor) -> None:
    """Write a set of this audio (clips, samples), as the shipped one is written, in place of what is there."""
    shutil.rmtree(folder)
    registry, made = load_registry(), {}
    for name in ("vae", "clap", "logmel", "chroma"):
        info, encoder = registry.encoder(name), registry.build_encoder(name)
        frames = Clips(list(audio), RATE).embeddings(info, encoder).frames
        made[name] = Statistics(Gaussian.fit(torch.cat(list(frames))), encoder.identity)
    about = ExemplarSetInfo("tunebook", Modality.AUDIO, len(audio), "CC0-1.0", "sounds", folder)
    write_exemplar_set(about, "made by a test", [f"sound {number}" for number in range(len(audio))], made)


@pytest.fixture(scope="module")
def place(folder: Path) -> Path:
    """A folder with sounds, ratings of them, and a core whose tunebook they are."""
    audio = sounds(COUNT, RATE, SECONDS)
    for number, sound in enumerate(audio):
        write_audio(folder / "tunes" / f"{number:02}.wav", sound[None], RATE)
    rows = [f"tunes/{number:02}.wav,{1 + number % 5}" for number in range(COUNT)]
    (folder / "ratings.csv").write_text("\n".join(["path,rating", *rows]), encoding="utf-8")
    (folder / "preset.toml").write_text(PRESET, encoding="utf-8")
    write_tunebook(copied_core(folder) / "exemplar_sets" / "tunebook", audio)
    return folder


@pytest.fixture(scope="module")
def environment(place: Path) -> Environment:
    """Both plugins beside that core, with checkpoints in `weights` and sets of the user's in `sets`."""
    environment = shared(PACKAGES, place)
    for name in SAVE:
        save_checkpoint(name, environment, place / "weights")
    return environment


def dragon(environment: Environment, place: Path, *arguments: str) -> str:
    own = {
        "DRAGON_WEIGHTS": "weights",
        "DRAGON_EXEMPLARS": "sets",
        "DRAGON_HEADS": "heads",
        "PYTHONPATH": "core",
        "DRAGON_CACHE": "off",
    }
    command = [environment.python, "-m", "dragon_train.cli", *arguments]
    done = subprocess.run(command, cwd=place, env=os.environ | own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_slot_is_served_by_a_stand_in(environment: Environment, place: Path) -> None:
    made = dragon(
        environment,
        place,
        *("exemplars", "statistics", "tunebook", "tunes", "--encoder", "vggish", "--encoder", "encodec", "--json"),
    )
    assert [row["encoder"] for row in json.loads(made)] == ["vggish", "encodec"]
    dragon(environment, place, "fit-ratings", "ratings.csv", "--encoder", "clap", "--name", "aesthetics")
    tuned = [option for reward in OWN for option in ("--rewards", reward)]
    dragon(environment, place, "bench", "--preset", "preset.toml", "--out", "bench", "--workers", "1", *tuned)
    page = (place / "bench" / "README.md").read_text(encoding="utf-8")
    assert "## Stand-ins\n\nNone: every reward served itself." in page
    wins = pd.read_csv(place / "bench" / "win_rates.csv")
    assert list(wins["run"]) == list(wins["served"]) == OWN
    assert wins[["before", "after", "win_rate"]].notna().all(axis=None)
    scored = pd.read_parquet(place / "bench" / "scores.parquet")["reward"].unique()
    assert set(scored) == {slot.reward for slot in load_suite("dragon20").slots}
