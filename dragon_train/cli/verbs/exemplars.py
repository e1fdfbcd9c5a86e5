"""The verbs `dragon exemplars`: sets of the user's own, of audio or captions, and what installed sets may gain."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path  # noqa: TC003  typer evaluates the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dragon_rewards.exemplars import items, read_manifest, space_of
from dragon_rewards.exemplars.store import (
    changing_sets,
    check_sets_folder,
    delete_set,
    find_set,
    found_sets,
    require_set,
    save_set,
)
from dragon_rewards.registry import load_registry
from dragon_rewards.storage.files import check_file
from dragon_rewards.terminal.printable import json_text, printable
from dragon_train.cli.options import Json, SetName, Wide
from dragon_train.cli.own_sets import check_free, facts
from dragon_train.cli.printing import print_rows
from dragon_train.cli.verbs.exemplars_add import add
from dragon_train.cli.verbs.exemplars_check import check
from dragon_train.cli.verbs.exemplars_facets import facets
from dragon_train.cli.verbs.exemplars_judge import judge
from dragon_train.cli.verbs.exemplars_statistics import statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def list_sets(*, as_json: Json = False, wide: Wide = False) -> None:
    """List the sets of your own; `dragon list exemplar-sets` has the installed ones, too."""
    infos, broken = found_sets()
    rows = [{"name": info.name, "modality": info.modality, **facts(info), "summary": info.summary} for info in infos]
    print_rows(rows, as_json=as_json, wide=wide, main=("name", "modality", "examples", "hours", "encoders", "summary"))
    for failure in broken:
        print(printable(str(failure)), file=sys.stderr)


def show(name: SetName, *, as_json: Json = False, wide: Wide = False) -> None:
    """Show the manifest of a set, the encoders with statistics, and what is in it."""
    info = find_set(name) or load_registry().exemplar_set(name)
    found = {**asdict(read_manifest(info.path)), "path": str(info.path), **facts(info)}
    if as_json:
        print(json_text({**found, "items": [asdict(item) for item in items(info)]}))
    else:
        print_rows([{"fact": key, "value": value} for key, value in found.items()], as_json=False, wide=wide)


def remove(
    name: SetName,
    places: Annotated[
        list[str] | None, typer.Argument(help="Files or folders to take out of it; default: the whole set.")
    ] = None,
    *,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Remove a set, or files from it; the audio itself stays where it is."""
    if not places:
        delete_set(name)
        return
    from dragon_rewards.exemplars.changes import without

    with changing_sets():
        before = require_set(name)
        old = items(before)
        kept = without(old, places)
        manifest = read_manifest(before.path)
        info = save_set(manifest, kept, manifest)
    print_rows([{"name": name, "removed": len(old) - len(kept), **facts(info)}], as_json=as_json, wide=wide)


def export_set(
    name: SetName,
    file: Annotated[Path, typer.Argument(help="File to write.")],
    *,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Write a set to one file, with its statistics, facets and captions, and without any audio or names of files."""
    from dragon_rewards.exemplars.archive import export_set as write

    check_file(file, "FILE")
    encoders = write(require_set(name), file)
    row = {"name": name, "file": str(file), "bytes": file.stat().st_size, "encoders": encoders}
    print_rows([row], as_json=as_json, wide=wide)


def import_set(
    file: Annotated[Path, typer.Argument(help="What `dragon exemplars export` wrote.")],
    name: Annotated[str | None, typer.Option(help="Name of the set here; default: as it was exported.")] = None,
    *,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Make a set of an exported file; it serves the encoders whose statistics it holds."""
    from dragon_rewards.exemplars.archive import import_set as read

    check_sets_folder()
    dims = {space_of(encoder): encoder.dim for encoder in load_registry().encoders.values()}
    info = read(file, name, check_free, dims)
    print_rows([{"name": info.name, **facts(info)}], as_json=as_json, wide=wide)


VERBS: Mapping[str, Callable[..., Any]] = {
    "add": add,
    "list": list_sets,
    "show": show,
    "remove": remove,
    "check": check,
    "facets": facets,
    "statistics": statistics,
    "judge": judge,
    "export": export_set,
    "import": import_set,
}

verbs = typer.Typer(no_args_is_help=True, help="Make exemplar sets of your own audio or captions.")
for name, verb in VERBS.items():
    verbs.command(name)(verb)
