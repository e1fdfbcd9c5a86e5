"""Guards around code of plugins: they report its errors as its own, send its output to stderr and check its results."""

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
    """Guard a block in which a plugin works: the plugin neither ends the process nor prints to stdout.

    Args:
        refusal: makes the error to raise from what the plugin raised. A `DragonError` of the plugin passes unchanged,
            and so does the KeyboardInterrupt of the user's Ctrl-C.
        spared: tells which other errors pass unchanged, such as running out of memory where the caller handles that;
            None for no others.
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
    """Return the type and the message of an error as text, even if the error cannot print its own message."""
    return f"{type(error).__name__}: {TracebackException.from_exception(error)}"


class _Aside:
    """Counts the blocks in which stdout is redirected; the first exchanges `sys.stdout`, and the last restores it.

    `sys.stdout` is shared by all threads.
    """

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
    """Redirect what any thread prints during the block to stderr, so that programs can still parse stdout."""
    _ASIDE.enter()
    try:
        yield sys.stderr
    finally:
        _ASIDE.leave()


@contextmanager
def interruptions() -> Iterator[Callable[[], bool]]:
    """Provide a function that tells whether the user has interrupted the process since the block began.

    A KeyboardInterrupt for which it returns False was raised by a plugin.
    """
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


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait until the block has ended; a second signal ends the process at once."""
    came: list[int] = []
    handled = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    main = current_thread() is main_thread()  # the only one that Python interrupts
    placed = [number for number, handler in handled.items() if main and callable(handler)]

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)
        for each in placed:
            signal.signal(each, signal.SIG_DFL)

    for number in placed:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number in placed:
            signal.signal(number, handled[number])
        for signalled in came:
            signal.raise_signal(signalled)


@contextmanager
def resumable(kept: Callable[[], str]) -> Iterator[None]:
    """Say on stderr what is kept if the user or the system stops the command inside the block."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"dragon: stopped; {kept()}", file=sys.stderr)  # noqa: T201  a library's user stopped it, too
        raise


def output_fault(
    output: object, shape: tuple[int, ...], dtype: torch.dtype | None, device: torch.device | None, subject: str = ""
) -> str | None:
    """Say what is wrong with what a plugin returned; return None if it is a finite tensor as promised.

    Args:
        output: what the plugin returned.
        shape: the promised shape.
        dtype: the promised type; None for any floating point type.
        device: where the values should be; None for any device.
        subject: what the plugin was given, as in " for 'a.wav'".
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
