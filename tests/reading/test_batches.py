"""Batches halve where memory runs out, keep what was encoded, and follow from the memory that is free."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dragon_rewards.compute.devices import CPU
from dragon_rewards.media.encodable import BATCH, CPU_BATCH, CPU_VALUES, first_batch, in_batches


def examples(lengths: list[int]) -> dict[int, Tensor]:
    return {row: torch.zeros(1, length) for row, length in enumerate(lengths)}


@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=60), room=st.integers(4, 40))
def test_every_row_is_encoded_once_in_batches_that_fit(lengths: list[int], room: int) -> None:
    tried: list[int] = []

    def encode(rows: list[int]) -> Tensor:
        size = sum(lengths[row] for row in rows)
        tried.append(size)
        if size > room:
            raise torch.OutOfMemoryError("none left")
        return torch.tensor(rows)

    made = list(in_batches(examples(lengths), encode))
    assert all(encoded.tolist() == rows for rows, encoded in made)
    assert sorted(row for rows, _ in made for row in rows) == list(range(len(lengths)))
    assert [lengths[rows[0]] for rows, _ in made] == sorted(lengths[rows[0]] for rows, _ in made)
    assert all(len({lengths[row] for row in rows}) == 1 and len(rows) <= CPU_BATCH for rows, _ in made)
    assert sum(size > room for size in tried) <= 3  # 8, 4, 2: a batch that failed is not tried again


def test_an_example_that_does_not_fit_alone_is_raised_after_the_others() -> None:
    done: list[int] = []

    def encode(rows: list[int]) -> Tensor:
        if 2 in rows:
            raise torch.OutOfMemoryError("none left")
        done.extend(rows)
        return torch.zeros(len(rows), 1, 1)

    with pytest.raises(torch.OutOfMemoryError):
        list(in_batches(examples([5, 5, 9, 5]), encode))
    assert done == [0, 1, 3]


def test_other_errors_pass() -> None:
    def encode(rows: list[int]) -> Tensor:
        raise ZeroDivisionError(rows)

    with pytest.raises(ZeroDivisionError):
        list(in_batches(examples([3]), encode))


def test_the_cpu_takes_what_its_caches_bear() -> None:
    assert first_batch(torch.zeros(1, 16_000), CPU) == CPU_BATCH
    assert first_batch(torch.zeros(1, CPU_VALUES // 3), CPU) == 3
    assert first_batch(torch.zeros(2, CPU_VALUES), CPU) == 1


def test_a_device_takes_what_half_of_its_memory_bears(second: torch.device) -> None:
    from support.devices.second_device import limited_memory

    clip = torch.zeros(1, 16_000)  # 64 kB, 32 MB by the rule
    assert first_batch(clip, second) == BATCH
    with limited_memory(10 * 512 * clip.nbytes):
        assert first_batch(clip, second) == 5
    with limited_memory(0):
        assert first_batch(clip, second) == 1
