"""The verb `dragon exemplars check`: whether the files of a set are still what they were when they were added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError
from dragon_rewards.exemplars import content_hash, encoders_of, items, read_manifest
from dragon_rewards.exemplars.facets import SUFFIX, facets_of, stale
from dragon_rewards.exemplars.store import require_set
from dragon_rewards.registry import load_registry
from dragon_rewards.terminal.printable import counted
from dragon_rewards.terminal.progress import progress
from dragon_train.cli.options import Json, SetName, Wide
from dragon_train.cli.own_sets import PLUGIN
from dragon_train.cli.printing import print_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.protocols import ExemplarSetInfo


def check(name: SetName, *, as_json: Json = False, wide: Wide = False) -> None:
    """Read all files of a set again and compare them with its records; exit with 2 if something is wrong."""
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
            f"exemplar set '{name}' has {counted(len(faults), 'fault')}; put files back, take them out with `dragon "
            f"exemplars remove {name} FILE`, or `add` them again"
        )


def _manifest_faults(info: ExemplarSetInfo) -> Iterator[tuple[str, str]]:
    if content_hash(info.path) != read_manifest(info.path).sha256:
        yield "manifest", "the items are others than those it was written for"
    if len(items(info)) != info.count:
        yield "manifest", f"it counts {counted(info.count, 'example')}, and there are {len(items(info))}"
    owner = load_registry().owners.get(("register_exemplar_sets", info.name))
    if owner and owner.name != PLUGIN:
        yield "name", f"taken by {owner}, whose set is used"


def _audio_faults(examples: Sequence[Item]) -> list[tuple[str, str]]:
    """Return the files that are missing or have changed, among those whose audio was ever on this machine."""
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
            yield name, f"stale: lacks {counted(len(keys - covered), 'file')} and has {len(covered - keys)} too many"


def _facets_faults(info: ExemplarSetInfo) -> Iterator[tuple[str, str]]:
    for name in facets_of(info):
        from dragon_rewards.exemplars.facets import load_facets

        try:
            wrong = stale(info, name, load_facets(info.path / f"{name}{SUFFIX}")[1])
        except DragonError as error:
            wrong = str(error)
        if wrong:
            yield f"{name}{SUFFIX}", wrong
