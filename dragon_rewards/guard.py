"""Where code of plugins runs: what it raises is its own failure, what it prints goes to stderr.

What it returns is held to what it promised.
"""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from threading import Lock, current_thread, main_thread
from traceback import TracebackException
from typing import TYPE_CHECKING, TextIO

from dragon_rewards.errors import DragonError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    import torch


@contextmanager
def guarded(
    refusal: Callable[[BaseException], DragonError], spared: Callable[[BaseException], bool] | None = None
) -> Iterator[None]:
    """In the block a plugin works: it neither ends the process nor prints to stdout.

    Args:
        refusal: what to raise for what the plugin raised. Refusals of its own pass as they are, and so does what the
            user's Ctrl-C raises.
        spared: which errors pass as they are, such as that memory ran out where the caller mends that; by default none.
    """
    with aside():
        try:
            yield
        except (DragonError, KeyboardInterrupt):
            raise
        except BaseException as error:
            if spared and spared(error):
                raise
            raise refusal(error) from error


def reason_of(error: BaseException) -> str:
    """Type and text of an error; of one whose own text raises, too."""
    return f"{type(error).__name__}: {TracebackException.from_exception(error)}"


class _Aside:
    """Who is inside: `sys.stdout` is one for all threads, so the first exchanges it, and the last restores it."""

    def __init__(self) -> None:
        self.lock, self.inside, self.stdout = Lock(), 0, sys.stdout

    def enter(self) -> None:
        with self.lock:
            if not self.inside:
                self.stdout, sys.stdout = sys.stdout, sys.stderr
            self.inside += 1

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                sys.stdout = self.stdout


_ASIDE = _Aside()


@contextmanager
def aside() -> Iterator[TextIO]:
    """In the block, in whichever thread, `print` writes to stderr, so that stdout stays fit for a machine to read."""
    _ASIDE.enter()
    try:
        yield sys.stderr
    finally:
        _ASIDE.leave()


@contextmanager
def interruptions() -> Iterator[Callable[[], bool]]:
    """In the block, whether the user has interrupted it: any other KeyboardInterrupt is one that a plugin made up."""
    came: list[int] = []

    def noting(handler: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], object]:
        def note(number: int, frame: FrameType | None) -> object:
            came.append(number)
            return handler(number, frame)

        return note

    handled = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    main = current_thread() is main_thread()  # the only one that Python interrupts
    placed = {number: noting(handler) for number, handler in handled.items() if main and callable(handler)}
    for number, note in placed.items():
        signal.signal(number, note)
    try:
        yield lambda: bool(came)
    finally:
        for number, note in placed.items():
            if signal.getsignal(number) is note:
                signal.signal(number, handled[number])


def output_fault(
    output: object, shape: tuple[int, ...], dtype: torch.dtype | None, device: torch.device | None, subject: str = ""
) -> str | None:
    """What is wrong with what a plugin returned; None if it is a finite tensor as promised.

    Args:
        output: what it returned.
        shape: that it promises.
        dtype: that it promises; None is any of floating point.
        device: where it was to compute; None is anywhere.
        subject: what it was given, as in " for 'a.wav'".
    """
    import torch

    kind = "a floating point tensor" if dtype is None else dtype
    if not isinstance(output, torch.Tensor):
        return f"returned {type(output).__name__}{subject} instead of {kind} {shape}"
    fits = output.is_floating_point() if dtype is None else output.dtype == dtype
    if not fits or output.shape != shape:
        return f"returned {output.dtype} {tuple(output.shape)}{subject} instead of {kind} {shape}"
    if device is not None and output.device != device:
        return (
            f"returned values on {output.device}{subject} on {device}: compute there, or move them with .to({device})"
        )
    return None if output.isfinite().all() else f"returned values that are not finite{subject}"
