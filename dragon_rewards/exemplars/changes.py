"""Changes of a user's exemplar set: what adding or removing files or captions makes of its items."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError
from dragon_rewards.exemplars.item import text_item
from dragon_rewards.exemplars.sources import gather
from dragon_rewards.protocols import Modality

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.exemplars.sources import Gathered, Source
    from dragon_rewards.storage.shards import Shard


@dataclass(frozen=True)
class Change:
    """The examples of a set after a change, and the number of examples that the change concerned.

    Attributes:
        items: all examples after the change.
        added: the number of new examples.
        known: the number of examples that were in the set already, by content, or came twice among the new ones.
        replaced: the number of files whose content has changed.
    """

    items: tuple[Item, ...]
    added: int
    known: int
    replaced: int


def modality_of(found: Gathered) -> Modality:
    """Return whether audio, images or text was found.

    Raises:
        DragonError: nothing was found.
    """
    there = {Modality.AUDIO: found.audio, Modality.IMAGE: found.images, Modality.TEXT: found.captions}
    for modality, examples in there.items():
        if examples:
            return modality
    raise DragonError("nothing was found to add:\n" + listed(found.faults))


def examine(
    found: Gathered, shards: Sequence[Shard[Source]], window: float, on_progress: Callable[[int, int], None]
) -> list[Item]:
    """Return an item for each caption, or for each file, which is read from end to end.

    Args:
        found: where the examples are; a message on each file that cannot be used is added to its faults.
        shards: of the files, which `reading_shards` made; what has been read of them is not read again.
        window: the length in seconds of the windows that audio is cut into.
        on_progress: called with the number of files that are read, and of all files.
    """
    if found.captions:
        return [text_item(caption) for caption in found.captions]
    from dragon_rewards.exemplars.reading import read_shards

    done = count(1 + sum(len(shard.sources) for shard in shards if shard.done))
    read: list[Item] = []
    for part in read_shards(shards, window, lambda: on_progress(next(done), len(found.media))):
        read += part.items
        found.faults += part.faults
    return read


def listed(faults: Iterable[str]) -> str:
    """Return one line for each fault, indented, as the rest of an error message."""
    return "\n".join(f"  {fault}" for fault in faults)


def united(old: Sequence[Item], new: Sequence[Item]) -> Change:
    """Return the old examples and the new ones, with each content once.

    A file that has moved is recorded where it is now. A file that is at an old place with new content replaces the old
    example.
    """
    places: dict[tuple[str | None, int | None], str]
    places = {(item.path, item.row): item.sha256 for item in new if item.path}
    kept = {item.sha256: item for item in old if places.get((item.path, item.row), item.sha256) == item.sha256}
    counts = Counter[bool]()
    for item in new:
        known = kept.get(item.sha256)
        counts[known is None] += 1
        kept[item.sha256] = item if known is None else _moved(known, item)
    replaced = len(old) - sum(item.sha256 in kept for item in old)
    return Change(tuple(kept.values()), counts[True], counts[False], replaced)


def _moved(known: Item, found: Item) -> Item:
    """Return a known example, at its old place if its file still exists, otherwise at the place where it was found."""
    there = known.path is not None and Path(known.path).exists()
    return known if there else replace(known, path=found.path, row=found.row)


def without(old: Sequence[Item], places: Iterable[str]) -> list[Item]:
    """Return the examples that are at none of these places.

    Args:
        old: the examples of the set.
        places: files and folders of audio or images, or files of captions.

    Raises:
        DragonError: no example is at one of the places.
    """
    kept = list(old)
    for place in places:
        at = _captions_in(place) if any(item.path is None and item.caption for item in old) else _files_at(place, old)
        left = [item for item in kept if item.sha256 not in at]
        if len(left) == len(kept):
            raise DragonError(f"nothing of this set is at '{place}'; `dragon exemplars show` its items with --json")
        kept = left
    return kept


def _captions_in(place: str) -> set[str]:
    return {text_item(caption).sha256 for caption in gather([place]).captions}


def _files_at(place: str, old: Sequence[Item]) -> set[str]:
    """Return the hashes of the examples that were added from this file or folder, which need not exist any more."""
    path = str(Path(place).expanduser().absolute())
    return {item.sha256 for item in old if item.path and (item.path == path or item.path.startswith(path + os.sep))}
