"""The `dragon` command: the app, and what its verbs share. Each verb is a file of its own."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated, Any

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
from dragon_train.cli.printing import Json, Wide, print_rows

__all__ = ["Json", "Wide", "app", "print_rows"]


class RefusingGroup(TyperGroup):
    """Prints a refusal's message, what a file lacks, or that memory ran out, without a traceback, and exits with 2."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        try:
            try:
                return super().main(*args, **kwargs)
            finally:
                end_stdout()
        except OSError as error:
            refuse(explained(error))
            raise SystemExit(REFUSED) from error

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
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


app = typer.Typer(
    name="dragon",
    cls=RefusingGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Distributional rewards for media diffusion models: score, fine-tune, benchmark.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"dragon-rewards {version('dragon-rewards')}")
        raise typer.Exit


@app.callback()
def begin(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """What goes before every verb."""
