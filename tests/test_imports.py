"""Help, lists and `dragon plugins` answer at once, because nothing heavy is imported for them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from dragon_train.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAVY = {"torch", "numpy", "scipy", "pandas", "pyarrow", "diffusers", "transformers", "peft", "soundfile", "soxr"}
RUN = f"""
import sys
from dragon_train.cli import main
try:
    main()
finally:
    imported = {HEAVY!r} & set(sys.modules)
    assert not imported, imported
"""


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The arguments that reach each command, the root included."""
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from verbs(child, (*path, name))


def light_commands() -> list[tuple[str, ...]]:
    """The help of every verb, every list, and the plugins."""
    paths = list(verbs(typer.main.get_command(app)))
    lists = [path for path in paths if path[:1] == ("list",) and len(path) > 1]
    return [*((*path, "--help") for path in paths), *lists, ("plugins",)]


@pytest.mark.parametrize("arguments", light_commands(), ids=" ".join)
def test_nothing_heavy_is_imported(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", RUN, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_verb_is_covered() -> None:
    covered = {arguments[0] for arguments in light_commands()}
    assert {"list", "plugins", "score", "sample", "train", "bench"} <= covered
    assert ("list", "pipelines") in light_commands()
