"""The verbs `dragon plugins`: which plugins loaded, which failed, and why; and a package to begin one with."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dragon_rewards.plugins import LOAD_SECONDS
from dragon_rewards.registry import load_registry
from dragon_rewards.terminal.printable import json_text, printable
from dragon_train.cli.options import Json, Wide
from dragon_train.cli.printing import print_rows
from dragon_train.cli.verbs.plugins_new import new
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from dragon_rewards.plugins import PluginFailure, PluginRecord

verbs = typer.Typer(invoke_without_command=True, help="Show the plugins that loaded; begin one of your own.")

SLOW = 0.5  # seconds: more than all built-in parts take, even on a busy machine


def all_failures() -> list[PluginFailure]:
    """Return every failure once, of plugins of rewards and of the trainer."""
    return list(dict.fromkeys([*load_registry().failures, *load_train_registry().failures]))


def all_plugins() -> list[PluginRecord]:
    """Return every plugin that loaded, of rewards and of the trainer."""
    return [*load_registry().plugins, *load_train_registry().plugins]


@verbs.callback()
def show_plugins(
    context: typer.Context,
    *,
    as_json: Json = False,
    wide: Wide = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where each failure was raised.")] = False,
) -> None:
    """Show the plugins that loaded, and why others failed; exits with 1 if any failed."""
    if context.invoked_subcommand:
        return
    plugins = all_plugins()
    failures = all_failures()
    if as_json:
        seconds = {str(plugin): taken for plugin, taken in LOAD_SECONDS.items()}
        content = {"plugins": list(map(asdict, plugins)), "failures": list(map(asdict, failures)), "seconds": seconds}
        print(json_text(content))
    else:
        rows = [{**asdict(plugin), "seconds": round(LOAD_SECONDS[plugin], 3)} for plugin in plugins]
        print_rows(rows, as_json=False, wide=wide)
        _print_slow()
        _print_failures(failures, traceback=traceback)
    raise typer.Exit(1 if failures else 0)


def _print_slow() -> None:
    """Name the plugins, loaded or failed, for which every command that needs plugins waits."""
    for plugin, seconds in LOAD_SECONDS.items():
        if seconds >= SLOW:
            print(f"SLOW {plugin}: {seconds:.1f} s to load; import heavy libraries in its factories instead")


def _print_failures(failures: list[PluginFailure], *, traceback: bool) -> None:
    for failure in failures:
        print(printable(f"FAILED {failure}"))
        if traceback:
            print(printable(failure.traceback))


verbs.command("new")(new)
