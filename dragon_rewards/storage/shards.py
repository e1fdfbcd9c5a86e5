"""Shards of long work on many files: each leaves its result in a folder of its own, so that a kill loses little.

The folder is named after all that the result depends on. So the same command finds what it has left, whichever process
or machine computed it, and no other command does.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

S = TypeVar("S")
T = TypeVar("T")

FILES = 512  # of a shard: seconds of work where they are short, and of a million of them 2,000 results
RESULT = "result"


@dataclass(frozen=True)
class Shard(Generic[S]):
    """A part of long work, done by itself.

    Attributes:
        folder: where its result is left, and nothing else.
        sources: what it is computed of.
    """

    folder: Path
    sources: tuple[S, ...]

    @property
    def result(self) -> Path:
        """The file of the result, which appears whole or not at all."""
        return self.folder / RESULT

    @property
    def done(self) -> bool:
        """Whether the result is there, whichever process left it."""
        return self.result.is_file()


@dataclass(frozen=True)
class Form(Generic[T]):
    """How results are kept.

    Attributes:
        write: writes a result to a file, whole or not at all.
        read: reads it back, exactly; raises a DragonError where the file is broken.
    """

    write: Callable[[Path, T], None]
    read: Callable[[Path], T]


def cut(root: Path, sources: Iterable[S], mark: Callable[[S], object], made_with: Sequence[object]) -> list[Shard[S]]:
    """Cut the sources into shards of 512, the last one of fewer, with folders below `root`.

    Args:
        root: the folder of all shards.
        sources: in the order in which results are merged.
        mark: returns what tells a source from others, as JSON holds it.
        made_with: all else that results depend on, as JSON holds it.
    """
    stream, shards = iter(sources), list[Shard[S]]()
    while part := tuple(islice(stream, FILES)):
        digest = sha256(json.dumps([made_with, list(map(mark, part))]).encode()).hexdigest()
        shards.append(Shard(root / digest, part))
    return shards


def results(
    shards: Sequence[Shard[S]], compute: Callable[[tuple[S, ...]], T], form: Form[T], *, keep: bool
) -> Iterator[T]:
    """Yield the result of each shard, in order: the one that is there, or else one that is computed now.

    Args:
        shards: of which only one result at a time is in memory.
        compute: computes a result of the sources of a shard.
        form: how results are kept.
        keep: whether results that are computed now are left in their folders.
    """
    for shard in shards:
        if shard.done:
            yield form.read(shard.result)
            continue
        made = compute(shard.sources)
        if keep:
            form.write(shard.result, made)
        yield made


def discard(shards: Iterable[Shard[S]]) -> None:
    """Remove the results of shards, once what was made of them is kept."""
    for shard in shards:
        shutil.rmtree(shard.folder, ignore_errors=True)
