"""The exemplar sets that a user made: a folder each, of a manifest, items and statistics."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from traceback import TracebackException
from typing import TYPE_CHECKING

from dragon_rewards.errors import ConfigError, DragonError, UnknownNameError
from dragon_rewards.exemplars.item import items_hash, items_name, pack_items, read_items
from dragon_rewards.exemplars.sets import MANIFEST, items, load_exemplar_set, read_manifest
from dragon_rewards.names import check_name
from dragon_rewards.plugins import PluginFailure, Stage
from dragon_rewards.storage.files import check_folder, write_bytes, write_text
from dragon_rewards.storage.locks import PATIENCE, locked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.exemplars.sets import Manifest
    from dragon_rewards.protocols import ExemplarSetInfo

VARIABLE = "DRAGON_EXEMPLARS"
REMOVED = "removed.jsonl"


def sets_folder() -> Path:
    """`$DRAGON_EXEMPLARS`, or `dragon-rewards/exemplars` in the folder of the user's data.

    Raises:
        ConfigError: there is no home to put the default folder in.
    """
    own = os.environ.get(VARIABLE)
    if own:
        return Path(own)
    try:
        data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    except RuntimeError as error:
        raise ConfigError(f"no home for exemplar sets ({error}); set {VARIABLE} to a folder") from error
    return Path(data) / "dragon-rewards" / "exemplars"


@contextmanager
def changing_sets() -> Iterator[None]:
    """Inside, no other process changes a set: for what is read, changed and written again.

    Raises:
        ConfigError: another process is at it for a minute.
        OSError: the folder of the sets cannot be written.
    """
    with locked(sets_folder(), wait=PATIENCE):
        yield


def check_sets_folder() -> None:
    """Refuse sets that could not be written, before the work for them begins.

    Raises:
        DragonError: nothing can be written to the folder of the sets.
    """
    check_folder(sets_folder(), VARIABLE)


def set_folders() -> list[Path]:
    """The folder of every set, broken ones included; one without a manifest is none, or not any more."""
    return sorted(manifest.parent for manifest in sets_folder().glob(f"*/{MANIFEST}"))


def describe_set(folder: Path) -> ExemplarSetInfo:
    """The set in a folder.

    Raises:
        DragonError: it is broken.
    """
    info = load_exemplar_set(folder)
    if not all(text.isprintable() for text in (info.name, info.licence, info.summary)):
        raise DragonError(f"'{folder}' has control characters in its manifest; take them out of {MANIFEST}")
    if info.name != folder.name:
        raise DragonError(f"'{folder}' holds the exemplar set '{info.name}'; rename the folder to that")
    check_name(info.name)
    items(info)
    return info


def found_sets() -> tuple[list[ExemplarSetInfo], list[PluginFailure]]:
    """The user's sets, and why others were left out, as failures of a plugin each: a broken set is alone in that.

    Raises:
        ConfigError: there is no home to put the default folder in.
    """
    infos: list[ExemplarSetInfo] = []
    failures: list[PluginFailure] = []
    for folder in set_folders():
        try:
            infos.append(describe_set(folder))
        except Exception as error:  # noqa: BLE001  whatever is in the folder, the others are to be found
            trace = "".join(TracebackException.from_exception(error).format())
            name = f"exemplar set {folder.name}"
            failures.append(PluginFailure(name, str(folder), "", Stage.REGISTRATION, str(error), trace))
    return infos, failures


def broken_sets() -> list[PluginFailure]:
    """Why sets were left out."""
    try:
        return found_sets()[1]
    except ConfigError:  # the plugin that registers the sets fails with it
        return []


def find_set(name: str) -> ExemplarSetInfo | None:
    """The user's set of this name, if there is one.

    Raises:
        DragonError: the name is malformed, or the set is broken.
    """
    folder = sets_folder() / check_name(name)
    return describe_set(folder) if (folder / MANIFEST).is_file() else None


def require_set(name: str) -> ExemplarSetInfo:
    """The user's set of this name.

    Raises:
        UnknownNameError: there is none.
        DragonError: the name is malformed, or the set is broken.
    """
    info = find_set(name)
    if info is None:
        raise UnknownNameError("exemplar set of yours", name, [folder.name for folder in set_folders()])
    return info


def save_set(manifest: Manifest, examples: Sequence[Item], before: Manifest | None) -> ExemplarSetInfo:
    """Write a set, or replace one; its statistics stay, and are mended when they are next needed.

    What was read before is the caller's to hold: `changing_sets`.

    Args:
        manifest: what to record; `count` and `sha256` are filled in.
        examples: all that the set is to hold.
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
    write_bytes(folder / items_name(manifest.sha256), pack_items(examples))
    write_text(folder / MANIFEST, f"{json.dumps(asdict(manifest), indent=2, ensure_ascii=False)}\n")
    for old in folder.glob("items-*.jsonl"):
        if old.name != items_name(manifest.sha256):
            old.unlink(missing_ok=True)
    return describe_set(folder)


def clear_leftovers(folder: Path) -> None:
    """Remove what a process that was killed left of a new set, or of one that was being removed.

    Raises:
        DragonError: there is a set in the folder.
    """
    if (folder / MANIFEST).is_file():
        raise DragonError(f"there is an exemplar set '{folder.name}'; give another name, or remove it first")
    shutil.rmtree(folder, ignore_errors=True)


def check_unchanged(folder: Path, before: Manifest | None) -> None:
    """Refuse to go on with a set that is another than it was.

    Raises:
        DragonError: its manifest is not the one before.
    """
    found = read_manifest(folder) if (folder / MANIFEST).is_file() else None
    if found != before:
        raise DragonError(f"exemplar set '{folder.name}' was changed meanwhile by another process; run this again")


def _keep_removed(folder: Path, examples: Sequence[Item]) -> None:
    """Note where the audio of removed examples is, so that statistics that cover it can be rid of it."""
    if not any(folder.glob("*.safetensors")):
        return
    kept = {item.key for item in examples}
    known = {item.key: item for item in (*removed_items(folder), *items(load_exemplar_set(folder)))}
    removed = pack_items(item for key, item in known.items() if key not in kept and item.path)
    write_bytes(folder / REMOVED, removed)


def removed_items(folder: Path) -> tuple[Item, ...]:
    """Audio that statistics of the set may cover still."""
    path = folder / REMOVED
    return read_items(path) if path.is_file() else ()


def delete_set(name: str) -> None:
    """Remove a set and its statistics; the audio stays.

    Raises:
        UnknownNameError: there is none.
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
