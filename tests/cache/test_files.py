"""The files of the cache: broken ones are replaced, the least recently used go, a folder that takes none is left."""

from __future__ import annotations

import json
import logging
import os
import random
import resource
import struct
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dragon_rewards.errors import ConfigError
from dragon_rewards.media.cache import GIB, CacheKey, EmbeddingCache, Entry, Usage, open_cache
from dragon_rewards.storage.files import replacing

MAKER = CacheKey("two", "two-1", 8000, 25, "dragon-tests", "1.0")
KEYS = [f"{index:x}" * 64 for index in range(16)]


def frames(index: int) -> Tensor:
    """10 kB."""
    return torch.full((100, 25), float(index))


def names(cache: EmbeddingCache) -> set[str]:
    return {entry.path.name[0] for entry in cache.entries()}


def test_an_entry_is_a_safetensors_file_that_says_what_made_it(cache: EmbeddingCache) -> None:
    cache.store({KEYS[10]: frames(10)}, MAKER)
    content = (cache.folder / "aa" / f"{KEYS[10]}.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    facts = {"encoder": "two", "identity": "two-1", "package": "dragon-tests", "version": "1.0"}
    assert facts.items() <= header["__metadata__"].items()
    assert (header["frames"]["dtype"], header["frames"]["shape"]) == ("F32", [100, 25])
    found = cache.load(KEYS[10])
    assert found is not None
    assert torch.equal(found, frames(10))
    assert cache.load(KEYS[11]) is None


def damaged(content: bytes) -> list[bytes]:
    """Cut short, lengthened, emptied, of other things, with single bits turned."""
    draw = random.Random(0)
    cut = [content[: draw.randrange(len(content))] for _ in range(20)]
    turned = []
    for _ in range(60):
        at = draw.randrange(len(content))
        turned.append(content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :])
    return [b"", b"\xff" * 8, content + b"\0", b"not safetensors" * 9, *cut, *turned]


def test_a_broken_file_counts_as_missing_and_is_replaced(cache: EmbeddingCache) -> None:
    cache.store({KEYS[1]: frames(1)}, MAKER)
    (entry,) = cache.entries()
    for content in damaged(entry.path.read_bytes()):
        entry.path.write_bytes(content)
        assert entry.encoder is None or len(entry.encoder) == 3  # never raises; a bit of the name may have turned
        found = cache.load(KEYS[1])
        # A bit that turned in a fact beside the frames does them no harm.
        assert found is None or torch.equal(found, frames(1))
        assert entry.path.exists() == (found is not None)
        cache.store({KEYS[1]: frames(1)}, MAKER)
        found = cache.load(KEYS[1])
        assert found is not None
        assert torch.equal(found, frames(1))


def test_the_least_recently_used_go_first_and_the_folder_stays_below_its_limit(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "cache", 100_000)
    for index in range(9):
        cache.store({KEYS[index]: frames(index)}, MAKER)
        path = cache.folder / (KEYS[index][:2]) / f"{KEYS[index]}.safetensors"
        os.utime(path, (1000 + index, 1000 + index))
    assert names(cache) == set("012345678")
    cache.load(KEYS[0])
    cache.load(KEYS[3])
    cache.store({KEYS[9]: frames(9), KEYS[10]: frames(10)}, MAKER)
    assert names(cache) == set("03") | set("5678") | set("9a")
    assert sum(entry.size for entry in cache.entries()) <= 90_000


def test_a_folder_stays_below_its_limit_whoever_fills_it(tmp_path: Path) -> None:
    for start in range(4):
        cache = EmbeddingCache(tmp_path / "cache", 40_000)  # as a new process opens it
        for index in range(start, 16, 4):
            cache.store({KEYS[index]: frames(index)}, MAKER)
            assert sum(entry.size for entry in cache.entries()) <= 40_000
    assert names(cache) >= {"f"}


def test_a_pass_larger_than_the_cache_is_no_error(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "cache", 5_000)
    cache.store({key: frames(1) for key in KEYS}, MAKER)
    assert cache.entries() == []


def test_left_overs_of_killed_writers_are_swept_and_what_is_being_written_stays(cache: EmbeddingCache) -> None:
    cache.store({KEYS[1]: frames(1)}, MAKER)
    left = cache.folder / "11" / f".{KEYS[1]}.1234.part"
    left.write_bytes(b"half")
    with replacing(cache.folder / "11" / f"{KEYS[3]}.safetensors") as written:
        EmbeddingCache(cache.folder, cache.limit).store({KEYS[2]: frames(2)}, MAKER)
        assert (left.exists(), written.exists()) == (False, True)
    assert names(cache) == {"1", "2", "3"}


def test_files_that_are_not_the_caches_are_left_alone(cache: EmbeddingCache) -> None:
    foreign = [cache.folder / name for name in ("ab/adapter.safetensors", "model.safetensors", "ab/a.part", "ab.part")]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
        os.utime(path, (1000, 1000))
    small = EmbeddingCache(cache.folder, 5_000)
    small.store({KEYS[1]: frames(1)}, MAKER)
    assert small.entries() == []
    assert small.clear() == Usage(0, 0)
    assert all(path.read_bytes() == b"mine" for path in foreign)


def test_usage_and_clearing_by_encoder(cache: EmbeddingCache) -> None:
    other = CacheKey("ear", "ear-1", 8000, 25, "dragon-tests", "1.0")
    cache.store({KEYS[1]: frames(1), KEYS[2]: frames(2)}, MAKER)
    cache.store({KEYS[3]: frames(3)}, other)
    (cache.folder / "33" / f"{'3' * 63}4.safetensors").write_bytes(b"broken")
    usage = cache.usage()
    assert {encoder: used.entries for encoder, used in usage.items()} == {"two": 2, "ear": 1, None: 1}
    assert usage[None].bytes == 6
    assert cache.clear("two") == usage["two"]
    assert cache.load(KEYS[1]) is None
    assert cache.load(KEYS[3]) is not None
    assert cache.clear().entries == 2
    assert cache.entries() == []


def said(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = [record for record in caplog.records if record.name == "dragon_rewards.media.cache"]
    assert record.levelno == logging.WARNING
    return record.getMessage()


def test_a_folder_that_cannot_be_made_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = EmbeddingCache(tmp_path / "file" / "cache", 2**20)
    for index in range(3):
        cache.store({KEYS[index]: frames(index)}, MAKER)
        assert cache.load(KEYS[index]) is None
    assert f"kept in '{tmp_path / 'file' / 'cache'}'" in said(caplog)
    assert "set DRAGON_CACHE to another folder or to off" in said(caplog)
    assert cache.clear() == Usage(0, 0)


def test_a_disk_that_takes_no_more_leaves_no_half_file(cache: EmbeddingCache, caplog: pytest.LogCaptureFixture) -> None:
    cache.store({KEYS[1]: frames(1)}, MAKER)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        cache.store({KEYS[2]: frames(2)}, MAKER)
        cache.store({KEYS[3]: frames(3)}, MAKER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in said(caplog)
    assert [path.name[0] for path in cache.folder.glob("*/*")] == ["1"]
    assert cache.load(KEYS[1]) is not None


def test_the_environment_names_the_folder_and_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(**environment: str) -> tuple[Path, int] | None:
        for name in ("DRAGON_CACHE", "DRAGON_CACHE_LIMIT", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        cache = open_cache()
        return (cache.folder, cache.limit) if cache else None

    below = Path("dragon-rewards", "embeddings")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert opened() == (tmp_path / ".cache" / below, 10 * GIB)
    assert opened(DRAGON_CACHE="", XDG_CACHE_HOME="relative") == (tmp_path / ".cache" / below, 10 * GIB)
    assert opened(XDG_CACHE_HOME=str(tmp_path / "xdg")) == (tmp_path / "xdg" / below, 10 * GIB)
    assert opened(DRAGON_CACHE="here", DRAGON_CACHE_LIMIT="0.5") == (Path("here"), GIB // 2)
    assert opened(DRAGON_CACHE="off", DRAGON_CACHE_LIMIT="nonsense") is None
    for wrong in ("5GB", "0", "-1", "nan", "inf", ""):
        with pytest.raises(ConfigError, match=f"DRAGON_CACHE_LIMIT='{wrong}' is no positive number of GiB; write"):
            opened(DRAGON_CACHE_LIMIT=wrong)


def test_an_entry_that_has_gone_has_no_encoder(tmp_path: Path) -> None:
    assert Entry(tmp_path / "gone", 0, 0.0).encoder is None
