"""Several processes share a folder, and are killed at any moment: what is there is whole and right."""

from __future__ import annotations

import random
import time
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from dragon_rewards.media.cache import CacheKey, EmbeddingCache

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

    from torch import Tensor

MAKER = CacheKey("two", "two-1", 8000, 25, "dragon-tests", "1.0")
WRITERS, KEYS, ROUNDS, KILLS = 4, 24, 6, 12
SMALL, LARGE = 100, 40_000  # frames: 10 kB, and 4 MB, which take longer to write than all else


@pytest.fixture(scope="module", name="processes")
def server_of_processes() -> ForkServerContext:
    """Starts processes that have imported torch already."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["dragon_rewards.media.cache", "safetensors.torch"])
    return context


def key(index: int) -> str:
    return f"{index:02x}" * 32


def frames(index: int, count: int) -> Tensor:
    return torch.arange(25.0).expand(count, 25) + index


def check(cache: EmbeddingCache, index: int, count: int) -> bool:
    """Whether the entry is there; it must be right."""
    found = cache.load(key(index))
    assert found is None or torch.equal(found, frames(index, count))
    return found is not None


def write_and_read(folder: Path, limit: int, seed: int) -> None:
    """All keys in an order of one's own, in batches of four, beside others who write the same."""
    torch.set_num_threads(1)
    cache, draw = EmbeddingCache(folder, limit), random.Random(seed)
    for _ in range(ROUNDS):
        order = draw.sample(range(KEYS), KEYS)
        for start in range(0, KEYS, 4):
            cache.store({key(index): frames(index, SMALL) for index in order[start : start + 4]}, MAKER)
            for index in order:
                check(cache, index, SMALL)
    assert cache._takes_entries


@pytest.mark.parametrize("room", [2 * KEYS, KEYS // 2])
def test_writers_of_the_same_keys_leave_whole_and_right_files(
    room: int, tmp_path: Path, processes: ForkServerContext
) -> None:
    limit = room * 10_500
    writers = [processes.Process(target=write_and_read, args=(tmp_path, limit, seed)) for seed in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    cache = EmbeddingCache(tmp_path, limit)
    there = [index for index in range(KEYS) if check(cache, index, SMALL)]
    assert len(there) == len(cache.entries())
    assert len(there) == KEYS if room > KEYS else 0 < len(there) < KEYS
    assert list(tmp_path.glob("*/*.part")) == []


def write_for_ever(folder: Path, seed: int) -> None:
    torch.set_num_threads(1)
    cache, draw = EmbeddingCache(folder, 2**30), random.Random(seed)
    while True:
        index = draw.randrange(KEYS)
        cache.store({key(index): frames(index, LARGE)}, MAKER)


def written(folder: Path) -> set[tuple[str, int]]:
    """Every entry, and when it was written."""
    return {(path.name, path.stat().st_mtime_ns) for path in folder.glob("*/*.safetensors")}


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_cache_that_works(tmp_path: Path, processes: ForkServerContext) -> None:
    draw, amid = random.Random(0), 0
    for kill in range(KILLS):
        before = written(tmp_path)
        writer = processes.Process(target=write_for_ever, args=(tmp_path, kill))
        writer.start()
        while written(tmp_path) == before:
            assert writer.is_alive()
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.1))
        writer.kill()
        writer.join()
        amid += len(list(tmp_path.glob("*/*.part")))
        cache = EmbeddingCache(tmp_path, 2**30)
        there = len(cache.entries())
        assert sum(check(cache, index, LARGE) for index in range(KEYS)) == there  # all whole: none was removed
    assert amid, "no kill came amid a write, and this test has shown nothing"
    cache.store({key(index): frames(index, LARGE) for index in range(KEYS)}, MAKER)
    assert list(tmp_path.glob("*/*.part")) == []
    assert all(check(cache, index, LARGE) for index in range(KEYS))
