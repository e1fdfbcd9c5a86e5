"""Reading of many files that are to be examples, in shards: what each shard holds, and what is wrong with its files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from dragon_rewards.errors import AudioError, ImageError
from dragon_rewards.exemplars.audio import inspect
from dragon_rewards.exemplars.images import inspect_image
from dragon_rewards.exemplars.item import Item
from dragon_rewards.media.cache import work_shards
from dragon_rewards.media.prefetch import ahead, reading_threads
from dragon_rewards.storage.decoding import decode_names, read_bytes
from dragon_rewards.storage.files import write_bytes
from dragon_rewards.storage.shards import Form, results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from dragon_rewards.exemplars.sources import Source
    from dragon_rewards.storage.shards import Shard

AGAIN = "remove this file, and the audio is read again"


@dataclass(frozen=True)
class Read:
    """What was found in audio files.

    Attributes:
        items: an example for each file that can be used, in order.
        faults: a message for each file that cannot be used, in order.
    """

    items: list[Item]
    faults: list[str]


def reading_shards(sources: Iterable[Source], window: float) -> list[Shard[Source]]:
    """Cut audio files into shards; a file that changes is in another shard.

    Args:
        sources: the files.
        window: the length in seconds of the windows that they are cut into.
    """
    return work_shards(sources, _mark, ["reading", window])


def _mark(source: Source) -> list[object]:
    try:
        status = source.path.stat()
    except OSError:  # reading it says what is wrong
        return [str(source.path), source.row, source.caption]
    return [str(source.path), source.row, source.caption, status.st_size, status.st_mtime_ns]


def read_shards(shards: Sequence[Shard[Source]], window: float, on_read: Callable[[], None]) -> Iterator[Read]:
    """Yield what is in each shard, in order; what was read before is not read again.

    Args:
        shards: made by `reading_shards`.
        window: the length in seconds that they were made with.
        on_read: called for each file that is read now.
    """
    return results(shards, partial(read_files, window=window, on_read=on_read), FORM, keep=len(shards) > 1)


def read_files(sources: Iterable[Source], window: float, on_read: Callable[[], None] = lambda: None) -> Read:
    """Read audio files from end to end, in threads, and return what is in them; a damaged one is a fault."""

    def examined(source: Source) -> Iterator[Item | str]:
        try:
            yield inspect_image(source) if source.is_image else inspect(source, window)
        except (AudioError, ImageError) as error:
            yield str(error)

    read, threads = Read([], []), reading_threads()
    with ahead(examined, sources, threads, threads) as found:
        for each in found:
            if isinstance(each, Item):
                read.items.append(each)
            else:
                read.faults.append(each)
            on_read()
    return read


def _write(path: Path, read: Read) -> None:
    write_bytes(path, json.dumps(asdict(read)).encode())  # in ASCII, as names of files may be no UTF-8


def _read(path: Path) -> Read:
    return decode_names(read_bytes(path, AGAIN), Read, f"'{path}'", AGAIN)


FORM = Form(_write, _read)
