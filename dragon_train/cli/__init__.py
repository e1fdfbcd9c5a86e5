"""The command line of the project, `dragon`, which `main` runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `dragon` with these arguments, by default the arguments of the process.

    Raises:
        SystemExit: the command has ended, well or not.
    """
    from dragon_train.cli.bash import bash_words
    from dragon_train.cli.exits import end_at_signals, heed_signals
    from dragon_train.cli.output import results_alone
    from dragon_train.loop.ranks import is_alone

    if is_alone():
        heed_signals()
    else:
        end_at_signals()
    with results_alone(), bash_words():
        from dragon_train.cli.app import app

        app(arguments)
