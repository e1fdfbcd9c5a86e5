"""The end of the `dragon` command: refusals, signals and lack of memory are a line and an exit code, no traceback."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Any

import typer
from typer.core import TyperGroup

from dragon_rewards.errors import DragonError
from dragon_rewards.terminal.printable import printable
from dragon_train.cli.exits import (
    REFUSED,
    TERMINATED,
    Terminated,
    end_stdout,
    explained,
    refuse,
)


class RefusingGroup(TyperGroup):
    """A group of verbs that prints why it cannot go on, without a traceback, and exits with 2.

    Such are refusals, files that cannot be read or written, and a lack of memory.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line, and explain errors of the system, such as files that cannot be written.

        Raises:
            SystemExit: the command has ended, well or not.
        """
        try:
            try:
                return super().main(*args, **kwargs)
            finally:
                end_stdout()
        except OSError as error:
            refuse(explained(error))
            raise SystemExit(REFUSED) from error

    def invoke(self, ctx: Any) -> Any:
        """Run the verb that the command line names, and turn refusals, SIGTERM and a lack of memory into exit codes.

        Raises:
            typer.Exit: the verb was refused, ended by a signal or out of memory.
        """
        if isinstance(sys.stdout, TextIOWrapper):  # names of files need not be UTF-8, and are shown as on stderr
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except DragonError as refusal:
            refuse(printable(str(refusal)))
            raise typer.Exit(REFUSED) from refusal
        except Terminated as signalled:
            raise typer.Exit(TERMINATED) from signalled
        except (RuntimeError, MemoryError) as error:  # among the former is typer's own way to exit
            if "torch" not in sys.modules or not _is_out_of_memory(error):
                raise
            advice = "end what else uses the device, lower the batch, or choose another, as --device cpu does"
            refuse(f"out of memory ({error}); {advice}")
            raise typer.Exit(REFUSED) from error


def _is_out_of_memory(error: BaseException) -> bool:
    from dragon_rewards.compute.devices import is_out_of_memory

    return is_out_of_memory(error)
