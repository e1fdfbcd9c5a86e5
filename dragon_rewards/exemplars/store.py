"""The store of the user's own exemplar sets: one folder for each set, with its manifest, items and statistics."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from dragon_rewards.errors import ConfigError, DragonError, UnknownNameError
from dragon_rewards.exemplars.contents import kept_contents, stamp_of, sums, write_contents
from dragon_rewards.exemplars.item import items_hash, items_name, pack_items, read_items
from dragon_rewards.exemplars.places import VARIABLE, sets_folder
from dragon_rewards.exemplars.sets import MANIFEST, contents, items, load_exemplar_set, read_manifest
from dragon_rewards.names import check_name
from dragon_rewards.plugins import PluginFailure
from dragon_rewards.storage.files import check_folder, write_bytes, write_text
from dragon_rewards.storage.locks import PATIENCE, locked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.exemplars.sets import Manifest
    from dragon_rewards.protocols import ExemplarSetInfo

REMOVED = "removed.jsonl"


@contextmanager
def changing_sets() -> Iterator[None]:
    """Keep other processes from changing a set during the block, in which a set is read, changed and written again.

    Raises:
        ConfigError: another process has held the lock for a minute.
        OSError: the folder of the sets cannot be written.
    """
    with locked(sets_folder(), wait=PATIENCE):
        yield


def check_sets_folder() -> None:
    """Refuse to begin the work on a set that could not be written.

    Raises:
        DragonError: nothing can be written to the folder of the sets.
    """
    check_folder(sets_folder(), VARIABLE)


def set_folders() -> list[Path]:
    """Return the folder of every set, including broken ones; a folder without a manifest is no set."""
    return sorted(manifest.parent for manifest in sets_folder().glob(f"*/{MANIFEST}"))


def describe_set(folder: Path) -> ExemplarSetInfo:
    """Describe the set in a folder, and check it.

    Raises:
        DragonError: the set is broken.
    """
    info = load_exemplar_set(folder)
    if not all(text.isprintable() for text in (info.name, info.licence, info.summary)):
        raise DragonError(f"'{folder}' has control characters in its manifest; take them out of {MANIFEST}")
    if info.name != folder.name:
        raise DragonError(f"'{folder}' holds the exemplar set '{info.name}'; rename the folder to that")
    check_name(info.name)
    _know_contents(info)
    return info


def _know_contents(info: ExemplarSetInfo) -> None:
    """Check that what the examples come to is known, and keep it for the next command where it was not kept.

    Where the folder cannot be written, or another process is changing a set, the next command finds it out again.
    """
    found = contents(info)
    if found and found != kept_contents(info.path):
        with suppress(OSError, ConfigError), locked(sets_folder()):
            if (info.path / MANIFEST).is_file():  # otherwise the set has been removed meanwhile
                write_contents(found, info.path)


def found_sets() -> tuple[list[ExemplarSetInfo], list[PluginFailure]]:
    """Return the user's sets, and for each broken set, which affects no other, a failure that says why.

    Raises:
        ConfigError: there is no home directory to put the default folder in.
    """
    infos: list[ExemplarSetInfo] = []
    failures: list[PluginFailure] = []
    for folder in set_folders():
        try:
            infos.append(describe_set(folder))
        except Exception as error:  # noqa: BLE001  whatever is in the folder, the others are to be found
            failures.append(PluginFailure.of_folder(f"exemplar set {folder.name}", folder, error))
    return infos, failures


def broken_sets() -> list[PluginFailure]:
    """Return for each set that was left out a failure that says why."""
    try:
        return found_sets()[1]
    except ConfigError:  # the plugin that registers the sets fails with it
        return []


def find_set(name: str) -> ExemplarSetInfo | None:
    """Describe the user's set of this name; return None if there is none.

    Raises:
        DragonError: the name is malformed, or the set is broken.
    """
    folder = sets_folder() / check_name(name)
    return describe_set(folder) if (folder / MANIFEST).is_file() else None


def require_set(name: str) -> ExemplarSetInfo:
    """Describe the user's set of this name.

    Raises:
        UnknownNameError: there is none.
        DragonError: the name is malformed, or the set is broken.
    """
    info = find_set(name)
    if info is None:
        raise UnknownNameError("exemplar set of yours", name, [folder.name for folder in set_folders()])
    return info


def save_set(manifest: Manifest, examples: Sequence[Item], before: Manifest | None) -> ExemplarSetInfo:
    """Write a set, or replace one; its statistics stay, and are updated when they are next needed.

    The caller holds `changing_sets` from before it read the set that it changes.

    Args:
        manifest: what to record; `count` and `sha256` are filled in.
        examples: all examples that the set is to hold.
        before: the manifest that the change started from; None for a new set.

    Raises:
        DragonError: there are no examples, or another process has changed the set since.
    """
    if not examples:
        raise DragonError(f"nothing would be left in '{manifest.name}'; remove the set with `dragon exemplars remove`")
    folder = sets_folder() / check_name(manifest.name)
    check_unchanged(folder, before)
    manifest = replace(manifest, count=len(examples), sha256=items_hash(examples))
    if before:
        _keep_removed(folder, examples)
    path = folder / items_name(manifest.sha256)
    write_bytes(path, pack_items(examples))
    write_text(folder / MANIFEST, f"{json.dumps(asdict(manifest), indent=2, ensure_ascii=False)}\n")
    write_contents(sums(examples, stamp_of(path)), folder)
    for old in folder.glob("items-*.jsonl"):
        if old != path:
            old.unlink(missing_ok=True)
    return describe_set(folder)


def clear_leftovers(folder: Path) -> None:
    """Remove what a process that was killed left of a new set, or of a set that was being removed.

    Raises:
        DragonError: there is a set in the folder.
    """
    if (folder / MANIFEST).is_file():
        raise DragonError(f"there is an exemplar set '{folder.name}'; give another name, or remove it first")
    shutil.rmtree(folder, ignore_errors=True)


def check_unchanged(folder: Path, before: Manifest | None) -> None:
    """Refuse to go on with a set that has changed.

    Args:
        folder: the folder of the set.
        before: the manifest that it had before; None if there was no set.

    Raises:
        DragonError: its manifest is another one now.
    """
    found = read_manifest(folder) if (folder / MANIFEST).is_file() else None
    if found != before:
        raise DragonError(f"exemplar set '{folder.name}' was changed meanwhile by another process; run this again")


def _keep_removed(folder: Path, examples: Sequence[Item]) -> None:
    """Record where the audio of removed examples is, so that they can be taken out of statistics that include them."""
    if not any(folder.glob("*.safetensors")):
        return
    kept = {item.key for item in examples}
    known = {item.key: item for item in (*removed_items(folder), *items(load_exemplar_set(folder)))}
    removed = pack_items(item for key, item in known.items() if key not in kept and item.path)
    write_bytes(folder / REMOVED, removed)


def removed_items(folder: Path) -> tuple[Item, ...]:
    """Return the removed examples that statistics of the set may still include."""
    path = folder / REMOVED
    return read_items(path) if path.is_file() else ()


def delete_set(name: str) -> None:
    """Remove a set and its statistics; the audio files stay.

    Raises:
        UnknownNameError: there is no set of this name.
        DragonError: the name is malformed, or the folder cannot be removed.
    """
    folder = sets_folder() / check_name(name)
    if not (folder / MANIFEST).is_file():
        require_set(name)
    try:
        with changing_sets():
            (folder / MANIFEST).unlink()  # first: from here on it is no set
            shutil.rmtree(folder)
    except OSError as error:
        raise DragonError(f"'{folder}' could not be removed ({error}); remove it by hand") from error
