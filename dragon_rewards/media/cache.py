"""Embeddings kept on disk, so that audio that an encoder has seen is not encoded again.

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
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from importlib import metadata
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.storage.files import sweep, write_bytes
from dragon_rewards.storage.tensor_files import check_tensors, pack_tensors, peek_metadata, unpack_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

FOLDER, LIMIT, OFF = "DRAGON_CACHE", "DRAGON_CACHE_LIMIT", "off"
GIB = 2**30
FORMAT = 1  # raise it when clips are mixed, resampled or stored in another way
LIBRARIES = ("soxr", "torch", "transformers")  # resample and compute; their changes are changes of every encoder
ENTRY = re.compile(r"[0-9a-f]{64}\.safetensors")
HEX = "[0-9a-f]"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CacheKey:
    """What makes embeddings of audio: an encoder, and the package and version it came in.

    Attributes:
        identity: the encoder's fingerprint of its weights and preprocessing.
        sample_rate: in Hz, of what the encoder is fed.
    """

    encoder: str
    identity: str
    sample_rate: int
    dim: int
    package: str
    version: str

    def key(self, clip: Tensor, sample_rate: int) -> str:
        """The name of the embeddings of a float32 clip (channels, samples) at `sample_rate` Hz: 64 hex digits."""
        made_with = [FORMAT, _versions(), asdict(self), sample_rate, list(clip.shape)]
        digest = sha256(json.dumps(made_with).encode())
        digest.update(clip.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()


@cache
def _versions() -> list[str]:
    return [metadata.version(library) for library in LIBRARIES]


@dataclass(frozen=True)
class Entry:
    """A file of the cache: its size in bytes, and when it was last used, in seconds since 1970."""

    path: Path
    size: int
    used: float

    @property
    def encoder(self) -> str | None:
        """The encoder that made it; None if the file is broken."""
        try:
            return peek_metadata(self.path).get("encoder")
        except (OSError, DragonError):
            return None


@dataclass(frozen=True)
class Usage:
    """A number of entries and their bytes."""

    entries: int
    bytes: int


class EmbeddingCache:
    """Embeddings in a folder that stays below a size: when it is full, those that were used least recently go.

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
        """Frames (frames, dim) in float32, or None; a broken file counts as missing and is removed."""
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
        """Keep frames (frames, dim) by key; where that fails, say so once and keep no more."""
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
        """All entries, in no order; files that are not the cache's are left out."""
        found = self.folder.glob(f"{HEX}{HEX}/{HEX}*.safetensors")
        return list(chain.from_iterable(_stat(path) for path in found if ENTRY.fullmatch(path.name)))

    def usage(self) -> dict[str | None, Usage]:
        """What each encoder takes, by name; broken files are those of None."""
        count, size = Counter[str | None](), Counter[str | None]()
        for entry in self.entries():
            encoder = entry.encoder
            count[encoder] += 1
            size[encoder] += entry.size
        return {encoder: Usage(count[encoder], size[encoder]) for encoder in count}

    def clear(self, encoder: str | None = None) -> Usage:
        """Remove all entries, or those of an encoder; what was removed.

        Raises:
            OSError: the folder is read-only.
        """
        removed = [entry for entry in self.entries() if encoder is None or entry.encoder == encoder]
        for entry in removed:
            entry.path.unlink(missing_ok=True)
        self._sweep()
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
    """The place of each clip of a set in a cache, for one encoder; clips go by their row."""

    cache: EmbeddingCache
    maker: CacheKey
    keys: Sequence[str]

    def load(self) -> dict[int, Tensor]:
        """Frames (frames, dim) of the clips that are there."""
        found = ((row, self.cache.load(key)) for row, key in enumerate(self.keys))
        return {row: frames for row, frames in found if frames is not None}

    def store(self, frames: Mapping[int, Tensor]) -> None:
        """Keep frames (frames, dim) of some clips."""
        self.cache.store({self.keys[row]: clip for row, clip in frames.items()}, self.maker)


def open_cache() -> EmbeddingCache | None:
    """The cache that the environment names; None if it says `DRAGON_CACHE=off`.

    The folder is `$DRAGON_CACHE`, by default `$XDG_CACHE_HOME/dragon-rewards/embeddings`; the limit
    `$DRAGON_CACHE_LIMIT` GiB, by default 10.

    Raises:
        ConfigError: the limit is no positive number, or there is no home to put the default folder in.
    """
    chosen = os.environ.get(FOLDER)
    if chosen == OFF:
        return None
    return EmbeddingCache(Path(chosen) if chosen else _default_folder(), _limit(os.environ.get(LIMIT, "10")))


def _default_folder() -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not caches.is_absolute():  # the XDG specification has relative ones ignored
        try:
            caches = Path.home() / ".cache"
        except RuntimeError as error:
            raise ConfigError(f"no home for cached embeddings ({error}); set {FOLDER} to a folder or {OFF}") from error
    return caches / "dragon-rewards" / "embeddings"


def _limit(text: str) -> int:
    """A number of GiB in bytes."""
    with suppress(ValueError):
        gib = float(text)
        if isfinite(gib) and gib > 0:
            return int(gib * GIB)
    raise ConfigError(
        f"{LIMIT}='{text}' is no positive number of GiB; write {LIMIT}=10, or {FOLDER}={OFF} to keep none"
    )


def _stat(path: Path) -> Iterator[Entry]:
    """The file as an entry, unless another process has removed it."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    yield Entry(path, status.st_size, status.st_mtime)


def _read(path: Path) -> Tensor | None:
    """The frames in a file; None if it is broken."""
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
    """Write frames to a file that replaces `path` when it is whole and on the disk; its size in bytes."""
    frames = frames.detach().cpu().contiguous()
    facts = {"encoder": maker.encoder, "identity": maker.identity, "package": maker.package, "version": maker.version}
    content = pack_tensors({"frames": frames}, {**facts, "sha256": _checksum(frames)})
    write_bytes(path, content)
    return len(content)


def _checksum(frames: Tensor) -> str:
    return sha256(frames.numpy().data).hexdigest()
