"""The verb `dragon plugins new`: write the package of a plugin to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dragon_train.scaffold.kinds import Kind, Names
from dragon_train.scaffold.package import write_package


def new(
    name: Annotated[str, typer.Argument(help="Name of the part, as in spectral-flux; the package is called after it.")],
    kind: Annotated[Kind, typer.Option(help="What the plugin brings.")],
) -> None:
    """Write the package of a plugin that works as it stands, with its tests, into a folder here."""
    folder = write_package(Names(kind, name), Path())
    print(f"{folder}: an example of {kind} '{name}' to make your own; {folder / 'README.md'} says how. Next:")
    print(f"pip install -e ./{folder}")
