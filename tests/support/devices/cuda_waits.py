"""Torch's own count of what makes the host wait for a CUDA device, to compare with the second device's."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def waits_on_cuda() -> Iterator[list[str]]:
    """A list that, once the block has ended, holds a message for each wait and each upload of pageable memory in it."""
    waits = list[str]()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield waits
    finally:
        torch.cuda.set_sync_debug_mode("default")
    messages = [str(warning.message) for warning in caught]
    waits += [message for message in messages if "called a synchronizing CUDA operation" in message]
