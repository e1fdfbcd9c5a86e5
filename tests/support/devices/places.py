"""Where the project makes the host wait for the device: for a look at what a count has shown.

with Places() as places:
    ...
print(places)
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Places(TorchDispatchMode):
    """In a block, counts the synchronisations of this thread by the lines of the project that ask for them.

    A look at every operator takes time, so that it is not part of `counted`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Calls the operator and says where, if the count has grown."""
        before = waits()
        result = func(*args, **(kwargs or {}))
        if times := waits() - before:
            self.found[f"{place()}: {func.__name__}"] += times
        return result

    def __str__(self) -> str:
        return "\n".join(f"{times} {place}" for place, times in self.found.most_common())


def waits() -> int:
    """How often the host has waited in this process."""
    return sum(times for name, times in torch.ops.second.counts().items() if name.startswith("synchronisation"))


def place() -> str:
    """The innermost line of the project, outside of tests."""
    frame = sys._getframe(1)
    while frame.f_back and "/dragon_" not in frame.f_code.co_filename:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
