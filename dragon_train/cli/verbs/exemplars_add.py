"""The verb `dragon exemplars add`: make a set of audio, images or captions, or add to one."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from dragon_rewards.errors import DragonError
from dragon_rewards.exemplars import Manifest, items, read_manifest, reference, serves
from dragon_rewards.exemplars.store import changing_sets, check_sets_folder, find_set, save_set
from dragon_rewards.media.cut import WINDOW
from dragon_rewards.registry import load_registry
from dragon_rewards.storage.shards import discard
from dragon_rewards.terminal.progress import progress
from dragon_rewards.weights import require_weights
from dragon_train.cli.completion import encoders
from dragon_train.cli.device import chosen_device
from dragon_train.cli.launching import chosen_launcher
from dragon_train.cli.options import Cpus, Device, FilesLauncher, Gpus, Json, Memory, SetName, Wide, Workers
from dragon_train.cli.own_sets import check_free, facts
from dragon_train.cli.printing import print_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.exemplars.sources import Gathered, Source
    from dragon_rewards.protocols import ExemplarSetInfo
    from dragon_rewards.sharded import Launch
    from dragon_rewards.storage.shards import Shard

LICENCE = "unknown: the owner's"

Encoders = Annotated[
    list[str] | None, typer.Option("--encoder", help="Make statistics for it now; repeatable.", autocompletion=encoders)
]


def add(
    name: SetName,
    places: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files of audio or images, folders, files of captions (as for --prompts), or datasets owner/name."
        ),
    ] = None,
    licence: Annotated[str | None, typer.Option(help=f"Of the examples; default '{LICENCE}'.")] = None,
    summary: Annotated[str | None, typer.Option(help="What they are, in a line.")] = None,
    window: Annotated[
        float, typer.Option(min=1, max=1e6, help="Seconds of the windows that long audio is cut into.")
    ] = WINDOW,
    encoder: Encoders = None,
    device: Device = None,
    launcher: FilesLauncher = None,
    workers: Workers = None,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    memory: Memory = None,
    *,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="List what cannot be used, and go on without.")] = False,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Make a set of files that stay where they are, or add to one; statistics follow when they are needed."""
    check_free(name)
    before = find_set(name)
    if before is None and not places:
        raise DragonError(f"there is no exemplar set '{name}' of yours yet; name the files or folders to make it of")
    check_sets_folder()
    launch = chosen_launcher(launcher, workers, cpus, gpus, memory, device)
    where = chosen_device(device) if encoder or device else None
    check_encoders(encoder or [], where)
    new, found, shards = examined(before, places or [], window, launch, skip_bad=skip_bad)
    from dragon_rewards.exemplars.changes import united

    with changing_sets():  # read only now what they are added to: another process may have added meanwhile
        before = find_set(name)
        _check_modality(before, found)
        change = united(items(before) if before else (), new)
        old = read_manifest(before.path) if before else None
        info = save_set(_manifest(name, found, old, licence, summary), change.items, old)
    discard(shards)
    for each in encoder or []:
        _make_statistics(info, each, where, launch)
    counts = {"added": change.added, "already_there": change.known, "replaced": change.replaced}
    print_rows([{"name": name, **counts, **facts(info)}], as_json=as_json, wide=wide)


def check_encoders(names: Sequence[str], device: torch.device | None) -> None:
    """Build the encoders now, so that one that cannot be built is refused before the long work."""
    registry = load_registry()
    for name in names:
        require_weights(f"encoder '{name}'", registry.encoder(name).weights)
        registry.build_encoder(name, device)


def examined(
    before: ExemplarSetInfo | None, places: Sequence[str], window: float, launch: Launch | None, *, skip_bad: bool
) -> tuple[list[Item], Gathered, list[Shard[Source]]]:
    """Return the examples to add, where they come from, and the shards that they were read in.

    What is bad is refused unless it is to be skipped.
    """
    from dragon_rewards.exemplars.changes import examine, listed
    from dragon_rewards.exemplars.sources import gather

    found = gather(places)
    if not places:
        return [], found, []
    _check_modality(before, found)
    shards = _read(found, window, launch)
    with progress("reading", "files") as bar:
        new = examine(found, shards, window, bar.update)
    if found.faults and not skip_bad:
        bad = listed(found.faults)
        raise DragonError(f"nothing was added, as these cannot be used; mend them or give --skip-bad:\n{bad}")
    if found.faults:
        print(f"left out, {len(found.faults)} in all:\n{listed(found.faults)}", file=sys.stderr)
    return new, found, shards


def _read(found: Gathered, window: float, launch: Launch | None) -> list[Shard[Source]]:
    """Return the shards of the files that were found, read by the launcher if there is one."""
    from dragon_rewards.exemplars.reading import reading_shards

    shards = reading_shards(found.media, window)
    if launch:
        from dragon_rewards.sharded import read_shard

        launch("reading", shards, read_shard, window)
    return shards


def _check_modality(before: ExemplarSetInfo | None, found: Gathered) -> None:
    """Refuse what is of another modality than the set, and nothing at all for a new one."""
    if before and not found.origins:
        return
    from dragon_rewards.exemplars.changes import modality_of

    modality = modality_of(found)
    if before and before.modality is not modality:
        raise DragonError(f"exemplar set '{before.name}' is {before.modality}, and this is {modality}; make another")


def _manifest(name: str, found: Gathered, old: Manifest | None, licence: str | None, summary: str | None) -> Manifest:
    """Return what to record: what was given now, else what was recorded before, else what is plain."""
    from dragon_rewards.exemplars.changes import modality_of

    if old is None:
        modality = modality_of(found)
        old = Manifest(name, modality, 0, LICENCE, f"{modality} of the user's", "", "")
    origins = dict.fromkeys([*old.provenance.split("; "), *found.origins])
    return replace(
        old,
        licence=old.licence if licence is None else licence,
        summary=old.summary if summary is None else summary,
        provenance="; ".join(filter(None, origins)),
    )


def _make_statistics(info: ExemplarSetInfo, name: str, device: torch.device | None, launch: Launch | None) -> None:
    registry = load_registry()
    if not serves(info, registry.encoder(name)):
        raise DragonError(f"exemplar set '{info.name}' is {info.modality}, which encoder '{name}' does not embed")
    owner = registry.owners["register_encoders", name]
    if launch:
        from dragon_rewards.sharded import launch_statistics

        launch_statistics(info, name, launch, device)
    reference(info, registry.encoder(name), registry.build_encoder(name, device), owner, device)
