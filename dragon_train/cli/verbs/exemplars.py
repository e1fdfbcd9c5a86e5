"""`dragon exemplars`: sets of the user's own, from folders of audio or files of captions."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path  # noqa: TC003  typer evaluates the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dragon_rewards.errors import ComposeError, DragonError
from dragon_rewards.exemplars import (
    CAPTIONS,
    Manifest,
    captions,
    content_hash,
    encoders_of,
    items,
    read_manifest,
    reference,
    serves,
    space_of,
)
from dragon_rewards.exemplars.facets import SUFFIX, facets_of, installed_fault, stale
from dragon_rewards.exemplars.store import (
    changing_sets,
    check_sets_folder,
    delete_set,
    find_set,
    found_sets,
    require_set,
    save_set,
)
from dragon_rewards.media.cut import WINDOW
from dragon_rewards.names import check_name
from dragon_rewards.protocols import Modality
from dragon_rewards.registry import load_registry
from dragon_rewards.storage.files import check_file
from dragon_rewards.terminal.printable import json_text, printable
from dragon_rewards.terminal.progress import progress
from dragon_rewards.weights import require_weights
from dragon_train.cli.completion import encoders, own_sets
from dragon_train.cli.device import Device, chosen_device
from dragon_train.cli.printing import Json, Wide, print_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.exemplars.sources import Gathered
    from dragon_rewards.protocols import EncoderInfo, ExemplarSetInfo

LICENCE = "unknown: the owner's"
PLUGIN = "dragon_rewards.exemplars.plugin"
HOUR = 3600

verbs = typer.Typer(no_args_is_help=True, help="Make exemplar sets of your own audio or captions.")

Name = Annotated[str, typer.Argument(help="Name of the set.", autocompletion=own_sets)]
Encoders = Annotated[
    list[str] | None, typer.Option("--encoder", help="Make statistics for it now; repeatable.", autocompletion=encoders)
]


@verbs.command()
def add(
    name: Name,
    places: Annotated[
        list[str] | None,
        typer.Argument(
            help="Audio files, folders, files of captions (as --prompts takes them), or datasets owner/name."
        ),
    ] = None,
    licence: Annotated[str | None, typer.Option(help=f"Of the examples; default '{LICENCE}'.")] = None,
    summary: Annotated[str | None, typer.Option(help="What they are, in a line.")] = None,
    window: Annotated[float, typer.Option(min=1, help="Seconds of the windows that long audio is cut into.")] = WINDOW,
    encoder: Encoders = None,
    device: Device = None,
    *,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="List what cannot be used, and go on without.")] = False,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Make a set of files that stay where they are, or add to one; statistics follow when they are needed."""
    _check_free(name)
    before = find_set(name)
    if before is None and not places:
        raise DragonError(f"there is no exemplar set '{name}' of yours yet; name the files or folders to make it of")
    check_sets_folder()
    where = chosen_device(device) if encoder or device else None
    _check_encoders(encoder or [], where)
    new, found = _examined(before, places or [], window, skip_bad=skip_bad)
    from dragon_rewards.exemplars.changes import united

    with changing_sets():  # only now is it read what they are added to, lest another process have added meanwhile
        before = find_set(name)
        _check_modality(before, found)
        change = united(items(before) if before else (), new)
        old = read_manifest(before.path) if before else None
        info = save_set(_manifest(name, found, old, licence, summary), change.items, old)
    for each in encoder or []:
        _make_statistics(info, each, where)
    counts = {"added": change.added, "already_there": change.known, "replaced": change.replaced}
    print_rows([{"name": name, **counts, **_facts(info)}], as_json=as_json, wide=wide)


def _check_free(name: str) -> None:
    """Refuse a name under which the set would not be found."""
    registry = load_registry()
    if check_name(name) in registry.exemplar_sets:
        owner = registry.owners["register_exemplar_sets", name]
        if owner.name != PLUGIN:
            raise ComposeError(f"exemplar set '{name}' is taken by {owner}; give yours another name")


def _check_encoders(names: Sequence[str], device: torch.device | None) -> None:
    """Build the encoders now, so that one that cannot be is refused before the long work."""
    registry = load_registry()
    for name in names:
        require_weights(f"encoder '{name}'", registry.encoder(name).weights)
        registry.build_encoder(name, device)


def _examined(
    before: ExemplarSetInfo | None, places: Sequence[str], window: float, *, skip_bad: bool
) -> tuple[list[Item], Gathered]:
    """The examples that are to be added; refuses what is bad unless it is to be skipped."""
    from dragon_rewards.exemplars.changes import examine, listed
    from dragon_rewards.exemplars.sources import gather

    found = gather(places)
    if not places:
        return [], found
    _check_modality(before, found)
    with progress("reading", "files") as bar:
        new = examine(found, window, bar.update)
    if found.faults and not skip_bad:
        bad = listed(found.faults)
        raise DragonError(f"nothing was added, as these cannot be used; mend them or give --skip-bad:\n{bad}")
    if found.faults:
        print(f"left out, {len(found.faults)} in all:\n{listed(found.faults)}", file=sys.stderr)
    return new, found


def _check_modality(before: ExemplarSetInfo | None, found: Gathered) -> None:
    """Refuse text for a set of audio, the reverse, and nothing at all for either."""
    if before and not found.origins:
        return
    from dragon_rewards.exemplars.changes import modality_of

    modality = modality_of(found)
    if before and before.modality is not modality:
        raise DragonError(f"exemplar set '{before.name}' is {before.modality}, and this is {modality}; make another")


def _manifest(name: str, found: Gathered, old: Manifest | None, licence: str | None, summary: str | None) -> Manifest:
    """What to record: what was given now, else what was recorded before, else what is plain."""
    if old is None:
        modality = Modality.AUDIO if found.audio else Modality.TEXT
        old = Manifest(name, modality, 0, LICENCE, f"{modality} of the user's", "", "")
    origins = dict.fromkeys([*old.provenance.split("; "), *found.origins])
    return replace(
        old,
        licence=old.licence if licence is None else licence,
        summary=old.summary if summary is None else summary,
        provenance="; ".join(filter(None, origins)),
    )


def _make_statistics(info: ExemplarSetInfo, name: str, device: torch.device | None) -> None:
    registry = load_registry()
    if not serves(info, registry.encoder(name)):
        raise DragonError(f"exemplar set '{info.name}' is {info.modality}, which encoder '{name}' does not embed")
    owner = registry.owners["register_encoders", name]
    reference(info, registry.encoder(name), registry.build_encoder(name, device), owner, device)


@verbs.command("list")
def list_sets(*, as_json: Json = False, wide: Wide = False) -> None:
    """Sets of your own; `dragon list exemplar-sets` has the installed ones, too."""
    infos, broken = found_sets()
    rows = [{"name": info.name, "modality": info.modality, **_facts(info), "summary": info.summary} for info in infos]
    print_rows(rows, as_json=as_json, wide=wide, main=("name", "modality", "examples", "hours", "encoders", "summary"))
    for failure in broken:
        print(printable(str(failure)), file=sys.stderr)


@verbs.command()
def show(name: Name, *, as_json: Json = False, wide: Wide = False) -> None:
    """Show the manifest of a set, the encoders with statistics, and what is in it."""
    info = find_set(name) or load_registry().exemplar_set(name)
    facts = {**asdict(read_manifest(info.path)), "path": str(info.path), **_facts(info)}
    if as_json:
        print(json_text({**facts, "items": [asdict(item) for item in items(info)]}))
    else:
        print_rows([{"fact": key, "value": value} for key, value in facts.items()], as_json=False, wide=wide)


@verbs.command()
def remove(
    name: Name,
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
    print_rows([{"name": name, "removed": len(old) - len(kept), **_facts(info)}], as_json=as_json, wide=wide)


@verbs.command()
def check(name: Name, *, as_json: Json = False, wide: Wide = False) -> None:
    """Read all files of a set again, and compare; exits with 2 if something is wrong."""
    info = require_set(name)
    faults = [
        *_manifest_faults(info),
        *_audio_faults(items(info)),
        *_statistics_faults(info),
        *_facets_faults(info),
    ]
    print_rows([{"what": what, "fault": fault} for what, fault in faults], as_json=as_json, wide=wide)
    if faults:
        raise DragonError(
            f"exemplar set '{name}' has {len(faults)} fault(s); put files back, take them out with `dragon exemplars "
            f"remove {name} FILE`, or `add` them again"
        )


def _manifest_faults(info: ExemplarSetInfo) -> Iterator[tuple[str, str]]:
    if content_hash(info.path) != read_manifest(info.path).sha256:
        yield "manifest", "the items are others than those it was written for"
    if len(items(info)) != info.count:
        yield "manifest", f"it counts {info.count} examples, and there are {len(items(info))}"
    owner = load_registry().owners.get(("register_exemplar_sets", info.name))
    if owner and owner.name != PLUGIN:
        yield "name", f"taken by {owner}, whose set is used"


def _audio_faults(examples: Sequence[Item]) -> list[tuple[str, str]]:
    """Files that are missing or have changed, of those whose audio was ever on this machine."""
    local = [item for item in examples if item.path]
    if not local:
        return []
    from dragon_rewards.exemplars.audio import fault
    from dragon_rewards.exemplars.sources import Source

    faults = []
    with progress("reading", "files", len(local)) as bar:
        for item in local:
            faults += [(str(Source.of(item)), wrong)] if (wrong := fault(item)) else []
            bar.advance()
    return faults


def _statistics_faults(info: ExemplarSetInfo) -> Iterator[tuple[str, str]]:
    keys = {item.key for item in items(info)}
    for name in encoders_of(info):
        from dragon_rewards.exemplars.statistics import read_kept

        try:
            covered = read_kept(info.path / f"{name}.safetensors").keys
        except DragonError as error:
            yield name, str(error)
            continue
        if covered != keys:
            yield name, f"stale: lacks {len(keys - covered)} files and has {len(covered - keys)} too many"


def _facets_faults(info: ExemplarSetInfo) -> Iterator[tuple[str, str]]:
    for name in facets_of(info):
        from dragon_rewards.exemplars.facets import load_facets

        try:
            wrong = stale(info, name, load_facets(info.path / f"{name}{SUFFIX}")[1])
        except DragonError as error:
            wrong = str(error)
        if wrong:
            yield f"{name}{SUFFIX}", wrong


@verbs.command()
def facets(
    name: Name,
    encoder: Annotated[str, typer.Option(help="In whose space.", autocompletion=encoders)],
    count: Annotated[int, typer.Option(min=2, help="Of facets.")] = 8,
    captions_file: Annotated[
        Path | None,
        typer.Option(
            "--captions", help="Captions to name them by (TXT, CSV, JSONL); default: the set's, or installed."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of k-means.")] = 0,
    device: Device = None,
    *,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Split a set into clusters, name each by its nearest captions, and keep them for the reward facet-coverage."""
    check_sets_folder()
    where = chosen_device(device)
    from dragon_rewards.exemplars.clusters import make_facets

    info, registry = _facetable(name), load_registry()
    require_weights(f"encoder '{encoder}'", registry.encoder(encoder).weights)
    names = _names(info, registry.encoder(encoder), captions_file)
    owner = registry.owners["register_encoders", encoder]
    built = registry.build_encoder(encoder, where)
    made = make_facets(info, registry.encoder(encoder), built, owner, count, seed, names, where)
    labels = {item.sha256: _label(item) for item in items(info)}
    listed = list if as_json else "; ".join  # captions have commas
    print_rows(
        [
            {
                "facet": at,
                "share": facet.share,
                "spread": facet.spread,
                "captions": listed(facet.captions),
                "examples": listed([labels[example] for example in facet.examples]),
            }
            for at, facet in enumerate(made.facets, 1)
        ],
        as_json=as_json,
        wide=wide,
        main=("facet", "share", "captions", "examples"),
    )


def _facetable(name: str) -> ExemplarSetInfo:
    """A set of the user's: an installed one is refused with the remedy."""
    installed = load_registry().exemplar_sets.get(name)
    if installed and not find_set(name):
        raise DragonError(str(installed_fault(installed)))
    return require_set(name)


def _names(info: ExemplarSetInfo, encoder: EncoderInfo, file: Path | None) -> list[str]:
    """Captions to name facets by: those given, else the set's own, else those of all installed text sets."""
    reads = Modality.TEXT in encoder.modalities
    if file is None:
        installed = [each for each in load_registry().exemplar_sets.values() if (each.path / CAPTIONS).is_file()]
        texts = [each for each in installed if each.modality is Modality.TEXT]
        return (captions(info) or [line for each in texts for line in captions(each)]) if reads else []
    if not reads:
        raise DragonError(f"encoder '{encoder.name}' embeds no text, so captions name nothing: leave --captions out")
    from dragon_rewards.exemplars.changes import listed
    from dragon_rewards.exemplars.sources import gather

    found = gather([str(file)])
    if found.faults or not found.captions:
        raise DragonError(f"'{file}' is no file of captions; mend it:\n{listed(found.faults)}")
    return list(found.captions)


def _label(item: Item) -> str:
    """Where an example is, or what it is if its audio is elsewhere."""
    from dragon_rewards.exemplars.sources import Source

    return str(Source.of(item)) if item.path else item.caption or item.sha256


@verbs.command("export")
def export_set(
    name: Name,
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


@verbs.command("import")
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
    info = read(file, name, _check_free, dims)
    print_rows([{"name": info.name, **_facts(info)}], as_json=as_json, wide=wide)


def _facts(info: ExemplarSetInfo) -> dict[str, Any]:
    """What a set holds, in figures."""
    examples = items(info)
    audio = any(item.windows for item in examples)
    return {
        "examples": info.count,
        "hours": sum(item.seconds for item in examples) / HOUR if audio else None,
        "windows": sum(item.windows for item in examples) if audio else None,
        "silent_windows": sum(item.silent for item in examples) if audio else None,
        "without_audio": sum(item.path is None for item in examples) if audio else None,
        "encoders": encoders_of(info),
        "facets": facets_of(info),
    }
