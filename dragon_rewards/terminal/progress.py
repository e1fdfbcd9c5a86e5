"""Progress of commands, shown on stderr: as a bar in a terminal, and as a line every half minute in a log."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from threading import Event, RLock, Thread
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import TaskID

PAUSE = 30.0  # seconds between two lines of a log
MINUTE = 60


def leads() -> bool:
    """Return whether this process speaks for all: it is the only one, or the first of those that a launcher started."""
    return int(os.environ.get("RANK", "0")) == 0


class Progress:
    """A task that takes long, and how much of it is done.

    Attributes:
        doing: what the task is.
        unit: what is counted.
        done: how many units are done.
        total: how many units there are; None if that is not known.
    """

    def __init__(self, doing: str, unit: str, total: int | None) -> None:
        self.doing, self.unit, self.done, self.total = doing, unit, 0, total
        self.begun = monotonic()

    def update(self, done: int, total: int | None = None) -> None:
        """Set the number of units that are done, and the total if it has become known."""
        self.done, self.total = done, self.total if total is None else total
        _STAGE.changed(self)

    def advance(self, further: int = 1, total: int | None = None) -> None:
        """Add to the number of units that are done, and set the total if it has become known."""
        self.update(self.done + further, total)

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        _STAGE.say(line)

    def __str__(self) -> str:
        """Return the state of the task as a line of a log."""
        seconds = int(monotonic() - self.begun)
        taken = f"{seconds} s" if seconds < MINUTE else f"{seconds // MINUTE} min {seconds % MINUTE} s"
        of = "" if self.total is None else f" of {self.total}"
        return f"{self.doing}: {self.done}{of} {self.unit}, {taken}"


@contextmanager
def progress(doing: str, unit: str, total: int | None = None) -> Iterator[Progress]:
    """Show the progress of a block, which reports it through the `Progress` that it is given.

    A block inside another one shares its display.

    Args:
        doing: what the task is.
        unit: what is counted.
        total: how many units there are; None if that is not known.
    """
    begun = Progress(doing, unit, total)
    _STAGE.enter(begun)
    try:
        yield begun
    finally:
        _STAGE.leave(begun)


class _View:
    """The display of all tasks that are under way; this one shows nothing, for a process that does not lead."""

    def add(self, begun: Progress) -> None: ...

    def changed(self, begun: Progress) -> None: ...

    def remove(self, ended: Progress) -> None: ...

    def say(self, line: str) -> None: ...

    def close(self) -> None: ...


class _Bars(_View):
    """The display in a terminal: a bar for each task that is under way."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Rich

        unit = TextColumn("{task.fields[unit]}")
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), unit)
        self.rich = Rich(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
        self.tasks: dict[Progress, TaskID] = {}
        self.rich.start()

    def add(self, begun: Progress) -> None:
        self.tasks[begun] = self.rich.add_task(begun.doing, total=begun.total, unit=begun.unit)

    def changed(self, begun: Progress) -> None:
        self.rich.update(self.tasks[begun], completed=begun.done, total=begun.total)

    def remove(self, ended: Progress) -> None:
        self.rich.remove_task(self.tasks.pop(ended))

    def say(self, line: str) -> None:
        self.rich.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self.rich.stop()


class _Lines(_View):
    """The display in a log: every half minute a line on the task that began last, even if nothing has changed."""

    def __init__(self) -> None:
        self.under_way: list[Progress] = []
        self.ended = Event()
        Thread(target=self._tell, name="progress", daemon=True).start()

    def _tell(self) -> None:
        while not self.ended.wait(PAUSE):
            for begun in self.under_way[-1:]:
                self.say(str(begun))

    def add(self, begun: Progress) -> None:
        self.under_way.append(begun)

    def remove(self, ended: Progress) -> None:
        self.under_way.remove(ended)

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201

    def close(self) -> None:
        self.ended.set()


class _Stage:
    """The tasks that are under way in this process, and the one display that shows them."""

    def __init__(self) -> None:
        self.lock, self.under_way = RLock(), list[Progress]()
        self.view = _View()

    def enter(self, begun: Progress) -> None:
        with self.lock:
            if not self.under_way:
                self.view = _view()
            self.under_way.append(begun)
            self.view.add(begun)

    def changed(self, begun: Progress) -> None:
        with self.lock:
            if begun in self.under_way:
                self.view.changed(begun)

    def leave(self, ended: Progress) -> None:
        with self.lock:
            self.under_way.remove(ended)
            self.view.remove(ended)
            if not self.under_way:
                self.view.close()

    def say(self, line: str) -> None:
        with self.lock:
            self.view.say(line)


def _view() -> _View:
    if not leads():
        return _View()
    return _Bars() if sys.stderr.isatty() else _Lines()


_STAGE = _Stage()
