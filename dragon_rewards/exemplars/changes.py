"""What adding to a user's exemplar set, or removing from it, makes of its items."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dragon_rewards.errors import AudioError, DragonError
from dragon_rewards.exemplars.item import text_item
from dragon_rewards.exemplars.sources import gather
from dragon_rewards.protocols import Modality

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.exemplars.sources import Gathered, Source


@dataclass(frozen=True)
class Change:
    """The examples after a change, and how many of them it concerned.

    Attributes:
        added: new ones.
        known: those that were there already, by content, or twice among the new ones.
        replaced: files whose content is another than it was.
    """

    items: tuple[Item, ...]
    added: int
    known: int
    replaced: int


def modality_of(found: Gathered) -> Modality:
    """What was found: audio or text.

    Raises:
        DragonError: nothing was.
    """
    if not found.audio and not found.captions:
        raise DragonError("nothing was found to add:\n" + listed(found.faults))
    return Modality.AUDIO if found.audio else Modality.TEXT


def examine(found: Gathered, window: float, on_progress: Callable[[int, int], None]) -> list[Item]:
    """An item of each caption, or of each audio file, which is read from end to end.

    Args:
        found: where they are; what is wrong with a file is added to its faults.
        window: seconds of the windows that audio is cut into.
        on_progress: is told how many of how many files are read.
    """
    if found.captions:
        return [text_item(caption) for caption in found.captions]
    from dragon_rewards.exemplars.audio import inspect
    from dragon_rewards.media.prefetch import ahead, reading_threads

    def examined(source: Source) -> Iterator[Item | AudioError]:
        try:
            yield inspect(source, window)
        except AudioError as error:
            yield error

    read: list[Item] = []
    threads = reading_threads()
    with ahead(examined, found.audio, threads, threads) as results:
        for done, result in enumerate(results, 1):
            if isinstance(result, AudioError):
                found.faults.append(str(result))
            else:
                read.append(result)
            on_progress(done, len(found.audio))
    return read


def listed(faults: Iterable[str]) -> str:
    """A line for each."""
    return "\n".join(f"  {fault}" for fault in faults)


def united(old: Sequence[Item], new: Sequence[Item]) -> Change:
    """The old examples and the new ones, each content once; a file that moved is found where it is now."""
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
    """A known example, at its old place if the file is there still."""
    there = known.path is not None and Path(known.path).exists()
    return known if there else replace(known, path=found.path, row=found.row)


def without(old: Sequence[Item], places: Iterable[str]) -> list[Item]:
    """The examples that are at none of these places: files and folders of audio, or files of captions.

    Raises:
        DragonError: there are none at a place.
    """
    kept = list(old)
    for place in places:
        at = _captions_in(place) if any(item.path is None and item.caption for item in old) else _audio_at(place, old)
        left = [item for item in kept if item.sha256 not in at]
        if len(left) == len(kept):
            raise DragonError(f"nothing of this set is at '{place}'; `dragon exemplars show` its items with --json")
        kept = left
    return kept


def _captions_in(place: str) -> set[str]:
    return {text_item(caption).sha256 for caption in gather([place]).captions}


def _audio_at(place: str, old: Sequence[Item]) -> set[str]:
    """Hashes of the examples that were added from this file or folder, which may be gone."""
    path = str(Path(place).expanduser().absolute())
    return {item.sha256 for item in old if item.path and (item.path == path or item.path.startswith(path + os.sep))}
