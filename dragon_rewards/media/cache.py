"""A cache on disk for embeddings, so that audio that an encoder has seen is not encoded again.

An entry is found by what it was made of and with: the samples, the encoder's identity, the package that registered it.
Names and dates of files play no part, so a renamed file is found and a changed one is not. The device plays none
either: it changes the last bits only.

Entries are safetensors files, `<first two digits of the key>/<key>.safetensors`. They appear whole or not at all, so
any number of processes may share a folder, and a process may be killed at any moment.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from importlib import metadata
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.storage.files import sweep, write_bytes
from dragon_rewards.storage.shards import cut
from dragon_rewards.storage.tensor_files import check_tensors, pack_tensors, peek_metadata, unpack_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from torch import Tensor

    from dragon_rewards.storage.shards import Shard

FOLDER, LIMIT, OFF = "DRAGON_CACHE", "DRAGON_CACHE_LIMIT", "off"
WORK = "work"  # no shelf of entries, which have two digits
GIB = 2**30
FORMAT = 1  # raise it when clips are mixed, resampled or stored in another way
LIBRARIES = ("soxr", "torch", "transformers")  # resample and compute; their changes are changes of every encoder
ENTRY = re.compile(r"[0-9a-f]{64}\.safetensors")
HEX = "[0-9a-f]"

S = TypeVar("S")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CacheKey:
    """The maker of embeddings: an encoder, and the package and version that it came in.

    Attributes:
        encoder: the encoder's name.
        identity: the encoder's fingerprint of its weights and preprocessing.
        sample_rate: in Hz, of what the encoder is fed.
        dim: the dimension of its embeddings.
        package: the distribution that registered it.
        version: the version of this distribution.
    """

    encoder: str
    identity: str
    sample_rate: int
    dim: int
    package: str
    version: str

    def key(self, clip: Tensor, sample_rate: int) -> str:
        """Return the key of the embeddings of a float32 clip (channels, samples) at `sample_rate` Hz: 64 hex digits."""
        made_with = [FORMAT, _versions(), asdict(self), sample_rate, list(clip.shape)]
        digest = sha256(json.dumps(made_with).encode())
        digest.update(clip.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()


@cache
def _versions() -> list[str]:
    return [metadata.version(library) for library in LIBRARIES]


@dataclass(frozen=True)
class Entry:
    """A file of the cache.

    Attributes:
        path: where it lies.
        size: in bytes.
        used: when it was last used, in seconds since 1970.
    """

    path: Path
    size: int
    used: float

    @property
    def encoder(self) -> str | None:
        """The name of the encoder that made the entry; None if the file is broken."""
        try:
            return peek_metadata(self.path).get("encoder")
        except (OSError, DragonError):
            return None


@dataclass(frozen=True)
class Usage:
    """How much space a group of entries takes.

    Attributes:
        entries: the number of entries.
        bytes: the bytes of all of them together.
    """

    entries: int
    bytes: int


class EmbeddingCache:
    """A folder of embeddings that stays below a size: when it is full, the least recently used entries are removed.

    Attributes:
        folder: made when the first entry is stored.
        limit: in bytes.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._takes_entries = True
        self._room = 0  # bytes to write until the folder is walked again; none at first, as its size is not known

    def load(self, key: str) -> Tensor | None:
        """Return the frames (frames, dim) of a key, in float32; None if there are none. A broken file is removed."""
        path = self._path(key)
        try:
            frames = _read(path)
        except FileNotFoundError:
            return None
        with suppress(OSError):  # the folder may be read-only, and another process may have removed the file
            if frames is None:
                path.unlink()
            else:
                os.utime(path)
        return frames

    def store(self, frames: Mapping[str, Tensor], maker: CacheKey) -> None:
        """Store the frames (frames, dim) of each key; where that fails, log it once and store no more."""
        if not self._takes_entries:
            return
        try:
            for key, clip in frames.items():
                self._room -= _write(self._path(key), clip, maker)
            if self._room < 0:
                self._trim()
        except OSError as error:
            self._takes_entries = False
            remedy = f"free space there, or set {FOLDER} to another folder or to {OFF}"
            log.warning("embeddings are no longer kept in '%s' (%s); %s", self.folder, error, remedy)

    def entries(self) -> list[Entry]:
        """Return all entries, in no order; files that are not the cache's are left out."""
        found = self.folder.glob(f"{HEX}{HEX}/{HEX}*.safetensors")
        return list(chain.from_iterable(_stat(path) for path in found if ENTRY.fullmatch(path.name)))

    def usage(self) -> dict[str | None, Usage]:
        """Return the space that each encoder takes, by its name; broken files are counted under None."""
        count, size = Counter[str | None](), Counter[str | None]()
        for entry in self.entries():
            encoder = entry.encoder
            count[encoder] += 1
            size[encoder] += entry.size
        return {encoder: Usage(count[encoder], size[encoder]) for encoder in count}

    def clear(self, encoder: str | None = None) -> Usage:
        """Remove all entries, or only the entries of one encoder, and return how much was removed.

        With all entries goes what unfinished work has left.

        Raises:
            OSError: the folder is read-only.
        """
        removed = [entry for entry in self.entries() if encoder is None or entry.encoder == encoder]
        for entry in removed:
            entry.path.unlink(missing_ok=True)
        self._sweep()
        if encoder is None:
            shutil.rmtree(self.folder / WORK, ignore_errors=True)
        return Usage(len(removed), sum(entry.size for entry in removed))

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"

    def _trim(self) -> None:
        """Remove the least recently used entries of a folder above its limit until it is at 90% of it.

        A walk over a full folder takes seconds, so the next one comes when the room that this one left is used up.
        Other processes write meanwhile: with room for a tenth at most, n of them exceed the limit by n tenths at most.
        """
        self._sweep()
        entries = sorted(self.entries(), key=lambda entry: entry.used)
        total = sum(entry.size for entry in entries)
        goal = self.limit if total <= self.limit else self.limit * 9 // 10
        for entry in entries:
            if total <= goal:
                break
            entry.path.unlink(missing_ok=True)
            total -= entry.size
        self._room = min(self.limit - total, self.limit // 10)

    def _sweep(self) -> None:
        """Remove what writers that were killed left behind."""
        for shelf in self.folder.glob(f"{HEX}{HEX}"):
            sweep(shelf)


@dataclass(frozen=True)
class CacheView:
    """The place of each clip of a set in a cache, for one encoder; clips are named by their row in the set."""

    cache: EmbeddingCache
    maker: CacheKey
    keys: Sequence[str]

    def load(self) -> dict[int, Tensor]:
        """Return the frames (frames, dim) of the clips that the cache has, by row."""
        found = ((row, self.cache.load(key)) for row, key in enumerate(self.keys))
        return {row: frames for row, frames in found if frames is not None}

    def store(self, frames: Mapping[int, Tensor]) -> None:
        """Store the frames (frames, dim) of some clips, by row."""
        self.cache.store({self.keys[row]: clip for row, clip in frames.items()}, self.maker)


def open_cache() -> EmbeddingCache | None:
    """Open the cache that the environment names; return None if it says `DRAGON_CACHE=off`.

    The folder is `$DRAGON_CACHE`, by default `$XDG_CACHE_HOME/dragon-rewards/embeddings`. The limit is
    `$DRAGON_CACHE_LIMIT` GiB, by default 10.

    Raises:
        ConfigError: the limit is no positive number, or there is no home to put the default folder in.
    """
    chosen = os.environ.get(FOLDER)
    if chosen == OFF:
        return None
    return EmbeddingCache(Path(chosen) if chosen else _default_folder(), _limit(os.environ.get(LIMIT, "10")))


def work_folder() -> Path:
    """Return the folder of the shards of unfinished work, inside the cache; inside the default one if the cache is off.

    Raises:
        ConfigError: there is no home to put the default folder in.
    """
    chosen = os.environ.get(FOLDER)
    return (Path(chosen) if chosen and chosen != OFF else _default_folder()) / WORK


def work_shards(sources: Iterable[S], mark: Callable[[S], object], made_with: Sequence[object]) -> list[Shard[S]]:
    """Cut the sources of work with encoders into shards in `work_folder`, as `storage.shards.cut` does."""
    return cut(work_folder(), sources, mark, [FORMAT, _versions(), *made_with])


def _default_folder() -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not caches.is_absolute():  # the XDG specification has relative ones ignored
        try:
            caches = Path.home() / ".cache"
        except RuntimeError as error:
            raise ConfigError(f"no home for cached embeddings ({error}); set {FOLDER} to a folder or {OFF}") from error
    return caches / "dragon-rewards" / "embeddings"


def _limit(text: str) -> int:
    """Convert a text that is a number of GiB to bytes; raises ConfigError if it is no positive number."""
    with suppress(ValueError):
        gib = float(text)
        if isfinite(gib) and gib > 0:
            return int(gib * GIB)
    raise ConfigError(
        f"{LIMIT}='{text}' is no positive number of GiB; write {LIMIT}=10, or {FOLDER}={OFF} to keep none"
    )


def _stat(path: Path) -> Iterator[Entry]:
    """Yield the file as an entry, unless another process has removed it."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    yield Entry(path, status.st_size, status.st_mtime)


def _read(path: Path) -> Tensor | None:
    """Return the frames in a file; None if it is broken."""
    try:
        content = path.read_bytes()  # at once: safe_open opens a path twice, and it may be removed in between
        tensors, facts = unpack_tensors(content, str(path), "")
        check_tensors(tensors, {"frames": ("float", "frames", "dim")}, str(path), "")
    except FileNotFoundError:
        raise
    except (OSError, DragonError):
        return None
    return tensors["frames"] if facts.get("sha256") == _checksum(tensors["frames"]) else None


def _write(path: Path, frames: Tensor, maker: CacheKey) -> int:
    """Write frames to a file that replaces `path` when it is whole and on the disk; return its size in bytes."""
    frames = frames.detach().cpu().contiguous()
    facts = {"encoder": maker.encoder, "identity": maker.identity, "package": maker.package, "version": maker.version}
    content = pack_tensors({"frames": frames}, {**facts, "sha256": _checksum(frames)})
    write_bytes(path, content)
    return len(content)


def _checksum(frames: Tensor) -> str:
    return sha256(frames.numpy().data).hexdigest()
