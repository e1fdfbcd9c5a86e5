"""The verb `dragon compare`: compare two folders of clips by many rewards."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dragon_rewards.errors import DragonError
from dragon_rewards.media.cache import open_cache
from dragon_rewards.media.folder_pairs import find_sides
from dragon_rewards.media.kinds import medium_of
from dragon_rewards.protocols import Modality
from dragon_rewards.registry import load_registry
from dragon_rewards.rewards import compose
from dragon_rewards.suites import load_suite
from dragon_rewards.terminal.printable import counted
from dragon_rewards.terminal.progress import progress
from dragon_train.cli.completion import rewards
from dragon_train.cli.device import chosen_device
from dragon_train.cli.files import check_csv, write_csv
from dragon_train.cli.options import Csv, Device, Json, Prompts, SkipBad, Wide
from dragon_train.cli.printing import print_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dragon_rewards.media.folder_pairs import Sides

SUITE = "dragon20"
MAIN = ("reward", "better", "a", "b", "win_rate", "lower", "holm", "effect", "controlled", "compared")

Folder = Annotated[
    Path, typer.Argument(help="Folder of audio or image files, with their prompts beside them if they have some.")
]


def compare(
    a: Folder,
    b: Folder,
    rewards: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare by this reward; repeatable; default: all of dragon20 that can.", autocompletion=rewards
        ),
    ] = None,
    prompts: Prompts = None,
    csv: Csv = None,
    device: Device = None,
    *,
    skip_bad: SkipBad = False,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Compare two folders of clips by rewards: how often B's are better than A's, how surely, and the raw metrics."""
    composed, cache = [compose(name) for name in dict.fromkeys(rewards or [])], open_cache()
    check_csv(csv, "win_rate")
    encoders = [reward.encoder for reward in composed]
    sides, medium = find_sides(a, b, prompts, encoders), medium_of(encoders)
    where = chosen_device(device)
    from dragon_rewards.evaluation.comparison import compare as compare_sides
    from dragon_rewards.evaluation.comparison import servable
    from dragon_rewards.media.usable import unusable

    if skip_bad:
        sides = sides.without(unusable([*sides.a.files, *sides.b.files], medium))
    notes = list(_notes(sides))
    if not composed:
        composed, more = servable(load_suite(SUITE), load_registry(), sides, where)
        notes += more
    for note in notes:
        print(note, file=sys.stderr)
    if not composed:
        raise DragonError(f"no reward of {SUITE} can judge these clips, see above; name others with --rewards")
    with progress("reading and encoding", "steps") as bar:
        rows = compare_sides(sides, composed, bar.advance, cache, where)
    print_rows(rows, as_json=as_json, wide=wide, main=MAIN)
    if not as_json and medium is Modality.AUDIO:
        print()
        print_rows(list(_confounders(rows[0])), as_json=False, wide=wide)
    write_csv(csv, rows)


def _confounders(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what a reward may follow instead of its question, as rows: means over the clips of each folder."""
    for name, unit in (("duration", "s"), ("loudness", "LUFS"), ("silence", "share")):
        yield {"confounder": f"{name} ({unit})", "a": row[f"{name}_a"], "b": row[f"{name}_b"]}


def _notes(sides: Sides) -> Iterator[str]:
    """Yield what a reader of the table must know about the clips."""
    counts = f"A has {counted(len(sides.a.files), 'clip')}, B {len(sides.b.files)}"
    yield f"{counts}; clips are compared {sides.pairing}"
    if len(sides.a.files) != len(sides.b.files):
        yield f"rewards of sets judge {sides.equal} of each, of the larger folder a draw with a fixed seed"
