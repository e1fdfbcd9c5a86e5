"""Read sources ahead of their use: in threads, in order, and no further ahead than memory should bear.

Decoding and resampling release Python's global lock, so that they keep as many cores busy as there are threads.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

T = TypeVar("T")
S = TypeVar("S")

MOST = 16  # threads: they decode more than any encoder takes, and each holds a file
CHUNK = 8  # items of a source at once: of audio in windows of 30 s at 48 kHz, 46 MB


def reading_threads() -> int:
    """Return how many threads to read with: as many as this process has cores, and at most 16."""
    return min(MOST, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@contextmanager
def ahead(
    read: Callable[[S], Iterable[T]], sources: Iterable[S], threads: int, look: int
) -> Generator[Iterator[T], None, None]:
    """Yield the items that `read` gives of one source after another, read ahead in threads.

    At most `look` sources are read ahead of the current one, and eight items of each. At the end of the block, or if it
    fails, no more is read.

    Args:
        read: a generator, which runs in threads; what it raises is raised where its next item would have been.
        sources: the arguments of `read`, one after another.
        threads: how many sources are read at once.
        look: how many sources are read ahead.
    """
    pool = ThreadPoolExecutor(threads, "read")
    try:
        yield _taken(pool, (iter(read(source)) for source in sources), look)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _taken(pool: ThreadPoolExecutor, streams: Iterator[Iterator[T]], look: int) -> Iterator[T]:
    def begun(stream: Iterator[T]) -> tuple[Iterator[T], Future[list[T]]]:
        return stream, pool.submit(lambda: list(islice(stream, CHUNK)))

    waiting = deque(map(begun, islice(streams, look + 1)))
    while waiting:
        stream, future = waiting.popleft()
        items = future.result()
        if len(items) == CHUNK:
            waiting.appendleft(begun(stream))
        else:
            waiting.extend(map(begun, islice(streams, 1)))
        yield from items
