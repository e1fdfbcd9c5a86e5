"""End processes with the one that started them, however that ends: nobody is left to compute for nobody."""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing import active_children, parent_process
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from multiprocessing.process import BaseProcess

SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
ORPHANED = 1  # exit code


def end_with_parent() -> None:
    """End this process as soon as its parent has ended, even in the middle of what it does.

    Linux sees to it at once. Everywhere, a process of `multiprocessing` holds the end of a pipe that its parent closes
    by ending; a thread waits for that.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    parent = parent_process()
    if parent is not None:
        Thread(target=_follow, args=(parent,), name="lifeline", daemon=True).start()


def _follow(parent: BaseProcess) -> None:
    parent.join()
    os._exit(ORPHANED)


def end_children(spared: Collection[BaseProcess]) -> None:
    """End the processes that this one started through `multiprocessing`, except the spared ones."""
    for child in active_children():
        if child not in spared:
            child.kill()
