"""Good files of every kind, made by the commands that make them for a user, in one folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from faults import material

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faults.forks import Nursery

ADD = ("exemplars", "add", "mine", "music", "--encoder", "logmel")
FACETS = ("exemplars", "facets", "mine", "--encoder", "logmel", "--count", 2)
EXPORT = ("exemplars", "export", "mine", "mine.dragon")
SCORE = ("score", "per-song-fad:logmel@airs", "music")
SECONDS = 2.0  # that a vote takes


def must(folder: Path, nursery: Nursery, *commands: tuple[object, ...]) -> None:
    """Run commands that succeed."""
    for command in commands:
        done = nursery.run(folder, *command)
        assert done.code == 0, (command, done.err)


def make_sets(folder: Path, nursery: Nursery) -> None:
    """An exemplar set with statistics and facets, its archive, and cached embeddings."""
    material.write_sounds(folder / "music")
    must(folder, nursery, ADD, FACETS, EXPORT, SCORE)


def make_votes(folder: Path, nursery: Nursery) -> None:
    """A listening test of two folders, its file of votes, and the votes that a rater's page downloads."""
    from dragon_rewards.listening.votes import Choice, Vote, VoteFile

    for name in ("a", "b"):
        material.write_sounds(folder / name)
    must(folder, nursery, ("listen", "page", "a", "b", "--db", "votes.sqlite", "--out", "page.html"))
    file = VoteFile(folder / "votes.sqlite")
    plan = file.plan()
    assert plan
    for name in ("Ann", "Bob"):
        rater = file.enter(name)
        for place, trial in enumerate(plan.trials(rater.seat)):
            file.add(Vote(rater.name, place, trial, Choice.TIE if place % 2 else Choice.LEFT, SECONDS))
    votes = [{"choice": "right", "seconds": SECONDS}] * plan.length
    held = {"plan": plan.digest, "rater": "Cem", "seat": 123456, "votes": votes}
    (folder / "votes.json").write_text(json.dumps(held), encoding="utf-8")
    for rest in folder.glob("votes.sqlite-*"):
        rest.unlink()


def make_runs(folder: Path, nursery: Nursery) -> None:
    """A finished run, one that was killed after its last step, and its prompts."""
    material.write_settings(folder)
    done = nursery.run(folder, *material.TRAIN)
    assert done.code == 0, done.err
    saving = next(line for line in done.events if "adapter_config.json" in line)
    nursery.run(folder, "train", "run.toml", "--out", "stopped", last=int(saving.split()[0]))
    assert (folder / "stopped" / "checkpoint.pt").is_file()


def make_studies(folder: Path, nursery: Nursery) -> None:
    """A benchmark and an ablation."""
    material.write_settings(folder)
    must(folder, nursery, material.BENCH, material.ABLATE)


def make_pipeline(folder: Path, nursery: Nursery) -> None:
    """A tiny pipeline of random weights, as diffusers saves it."""
    from pipelines.builders import build

    assert nursery.process.poll() is None
    build("stable-audio").save_pretrained(folder / "tiny")


MAKERS: dict[str, Callable[[Path, Nursery], None]] = {
    "sets": make_sets,
    "votes": make_votes,
    "runs": make_runs,
    "studies": make_studies,
    "pipeline": make_pipeline,
}
