"""A kill at any file-system event: the same command again gives the same bytes, loses no row, leaves nothing behind.

Events are those of `faults.events`: every audit event of Python that changes a file, the moment after a file was opened
for writing, every statement to SQLite, and before and after each write by safetensors, torch, soundfile and pyarrow.
A sample of them here, all with `--all-kills`. Not covered: the middle of a write (the file is empty or whole, and as
good as lost in either case), what libraries write beside our files (font caches of matplotlib, the hub's cache), the
launcher `ray`, whose workers are no forks, and a loss of power, which no process can bring about.
"""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from support.faults import material
from support.faults.forks import KILLED
from support.faults.tally import Fate

from dragon_rewards.exemplars.contents import CONTENTS
from dragon_train.loop.run import load_checkpoint
from dragon_train.loop.run_folder import FINAL_CHECKPOINT

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.faults.forks import Done, Nursery
    from support.faults.tally import Tally

pytestmark = pytest.mark.slow

IGNORED = ("home", "tmp")  # what libraries keep, and the system's folder for temporary files, which it empties


def train_all(folder: Path) -> None:
    material.write_settings(folder, tuning="all")


def music(folder: Path) -> None:
    material.write_sounds(folder / "music")


@dataclass(frozen=True)
class Command:
    """A command that is killed.

    Attributes:
        arguments: of `dragon`.
        prepare: writes its inputs.
        before: commands that run whole before it.
        sample: how many kills are tried in every run of the tests.
        again: exit codes of the same command after one that was killed when all was done.
    """

    name: str
    arguments: tuple[object, ...]
    prepare: Callable[[Path], None]
    before: tuple[tuple[object, ...], ...] = ()
    sample: int = 4
    again: tuple[int, ...] = (0,)


ADD = ("exemplars", "add", "mine", "music", "--encoder", "logmel")
FACETS = ("exemplars", "facets", "mine", "--encoder", "logmel", "--count", 2)
EXPORT = ("exemplars", "export", "mine", "mine.dragon")
COMMANDS = [
    Command("train lora", material.TRAIN, material.write_settings),
    Command("train all", material.TRAIN, train_all, sample=3),
    Command("bench", material.BENCH, material.write_settings, sample=3),
    Command("ablate", material.ABLATE, material.write_settings, sample=3),
    Command("exemplars add", ADD, music),
    Command("exemplars add more", ADD, music, (("exemplars", "add", "mine", "music/a.wav", "--encoder", "logmel"),)),
    Command("exemplars facets", FACETS, music, (ADD,)),
    Command("exemplars export", EXPORT, music, (ADD,)),
    # The set is there when a kill came at the very end, and a second import of it is refused.
    Command(
        "exemplars import",
        ("exemplars", "import", "mine.dragon"),
        music,
        (ADD, EXPORT, ("exemplars", "remove", "mine")),
        again=(0, 2),
    ),
    Command("cache", ("score", "per-song-fad:logmel@airs", "music", "--csv", "scores.csv"), music),
]


def contents(folder: Path) -> dict[str, str]:
    """What a command made: path -> digest; durations are left out."""
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {str(name): digest(path) for name, path in found.items() if name.parts[0] not in IGNORED}


def digest(path: Path) -> str:
    if "cache" in path.parts:  # clips that are encoded in batches of other sizes differ in their last bits
        frames = load_file(path)["frames"]
        return f"{tuple(frames.shape)} {frames.norm():.5g}"
    if path.name == "metrics.csv":
        frame = pd.read_csv(path)
        text = frame.drop(columns=[name for name in frame if str(name).endswith("_s")]).to_csv()
        return f"{len(frame)} rows {sha256(text.encode()).hexdigest()}"
    if path.name == CONTENTS:  # records when the examples were written, which has to be when they were
        kept = json.loads(path.read_text(encoding="utf-8"))
        written = (path.parent / kept["made_of"]["name"]).stat().st_mtime_ns
        return f"{kept['made_of'].pop('modified') == written} {kept}"
    if path.name == FINAL_CHECKPOINT:
        return sha256(repr(without_durations(vars(load_checkpoint(path)))).encode()).hexdigest()
    return sha256(path.read_bytes()).hexdigest()


def without_durations(state: Any) -> Any:
    """The contents of a checkpoint, of each tensor a digest."""
    if isinstance(state, torch.Tensor):
        return sha256(state.contiguous().numpy().tobytes()).hexdigest()
    if isinstance(state, dict):
        return {name: without_durations(value) for name, value in state.items() if not str(name).endswith("_s")}
    return [without_durations(each) for each in state] if isinstance(state, list | tuple) else state


def chosen(total: int, sample: int, *, everything: bool) -> list[int]:
    """Numbers of events, from 1 on: all, or some, spread evenly."""
    if everything or sample >= total:
        return list(range(1, total + 1))
    draw = random.Random(total)
    return [int((place + draw.random()) * total / sample) + 1 for place in range(sample)]


def prepared(folder: Path, command: Command, nursery: Nursery) -> Path:
    """A folder in which only the command is still to run."""
    folder.mkdir()
    command.prepare(folder)
    for earlier in command.before:
        done = nursery.run(folder, *earlier)
        assert done.code == 0, done.err
    return folder


def difference(found: dict[str, str], wanted: dict[str, str]) -> str:
    """What is missing, too much, or other."""
    lines = [f"missing {name}" for name in wanted if name not in found]
    lines += [f"left behind {name}" for name in found if name not in wanted]
    lines += [f"other {name}" for name in wanted if found.get(name, wanted[name]) != wanted[name]]
    return ", ".join(lines)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_kill_at_any_event_changes_nothing_in_the_end(
    command: Command,
    tmp_path: Path,
    nursery: Nursery,
    tally: Callable[[str], Tally],
    pytestconfig: pytest.Config,
) -> None:
    counts = tally(f"kill: {command.name}")
    start, work = prepared(tmp_path / "work", command, nursery).rename(tmp_path / "start"), tmp_path / "work"
    shutil.copytree(start, work)  # of one name for all, as sets of exemplars know where their files are
    first = nursery.run(work, *command.arguments)
    assert first.code == 0, first.err
    wanted = [contents(work)]
    if command.again == (0,):  # a kill at the very end is as good as none, and the command has run twice
        assert nursery.run(work, *command.arguments).code == 0
        wanted.append(contents(work))
    for last in chosen(len(first.events), command.sample, everything=pytestconfig.getoption("--all-kills")):
        shutil.rmtree(work)
        shutil.copytree(start, work)
        killed = nursery.run(work, *command.arguments, last=last)
        assert killed.code == KILLED, (last, killed)
        again = nursery.run(work, *command.arguments)
        wrong = min((difference(contents(work), each) for each in wanted), key=len)
        counts.add(*verdict(again, command, wrong), f"{last}: {killed.events[-1]}")
    counts.check()


def verdict(again: Done, command: Command, wrong: str) -> tuple[Fate, str]:
    if again.code not in command.again:
        return Fate.ESCAPED, f"exit code {again.code}: {again.err[-800:]}"
    return (Fate.LOST, wrong) if wrong else (Fate.RECOMPUTED, "")
