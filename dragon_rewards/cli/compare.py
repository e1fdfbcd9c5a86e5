"""`dragon compare`: two folders of clips, under many rewards."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dragon_rewards.cache import open_cache
from dragon_rewards.cli import Json, app, print_rows
from dragon_rewards.cli.device import Device, chosen_device
from dragon_rewards.cli.files import Csv, SkipBad, check_csv, reading_bar, write_csv
from dragon_rewards.errors import DragonError
from dragon_rewards.registry import load_registry
from dragon_rewards.rewards import compose
from dragon_rewards.suites import load_suite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dragon_rewards.sides import Sides

SUITE = "dragon20"
SHOWN = (
    *("reward", "compared", "better", "a", "b", "win_rate", "lower", "p_value", "holm"),
    *("permutation_p", "effect", "controlled"),
)

Folder = Annotated[Path, typer.Argument(help="Folder of audio files, with prompts.csv if they have prompts.")]


@app.command()
def compare(
    a: Folder,
    b: Folder,
    rewards: Annotated[
        list[str] | None, typer.Option(help="Compare by this reward; repeatable; default: all of dragon20 that can.")
    ] = None,
    csv: Csv = None,
    device: Device = None,
    *,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Compare two folders of clips by rewards: how often B's are better than A's, how surely, and the raw metrics."""
    composed, cache = [compose(name) for name in dict.fromkeys(rewards or [])], open_cache()
    check_csv(csv)
    where = chosen_device(device)
    from dragon_rewards.comparison import compare as compare_sides
    from dragon_rewards.comparison import servable
    from dragon_rewards.sides import find_sides
    from dragon_rewards.usable import unusable

    sides = find_sides(a, b)
    if skip_bad:
        sides = sides.without(unusable([*sides.a.files, *sides.b.files]))
    notes = list(_notes(sides))
    if not composed:
        composed, more = servable(load_suite(SUITE), load_registry(), sides, where)
        notes += more
    for note in notes:
        print(note, file=sys.stderr)
    if not composed:
        raise DragonError(f"no reward of {SUITE} can judge these clips, see above; name others with --rewards")
    with reading_bar() as on_progress:
        rows = compare_sides(sides, composed, on_progress, cache, where)
    write_csv(csv, rows)
    print_rows(rows if as_json else [{name: row[name] for name in SHOWN} for row in rows], as_json=as_json)
    if not as_json:
        print()
        print_rows(list(_confounders(rows[0])), as_json=False)


def _confounders(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What a reward may follow instead of its question, as rows: means over the clips of each folder."""
    for name, unit in (("duration", "s"), ("loudness", "LUFS"), ("silence", "share")):
        yield {"confounder": f"{name} ({unit})", "a": row[f"{name}_a"], "b": row[f"{name}_b"]}


def _notes(sides: Sides) -> Iterator[str]:
    """What a reader of the table must know about the clips."""
    counts = f"A has {len(sides.a.files)} clips, B {len(sides.b.files)}"
    yield f"{counts}; clips are compared {sides.pairing}"
    if len(sides.a.files) != len(sides.b.files):
        yield f"rewards of sets judge {sides.equal} of each, of the larger folder a draw with a fixed seed"
