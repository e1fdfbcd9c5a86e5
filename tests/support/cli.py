"""`dragon` in this process, and the types of fixtures that run it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from dragon_train.cli.app import app

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

Dragon = Callable[..., "Result"]
Rows = Callable[..., list[dict[str, Any]]]
Refused = Callable[..., str]


def dragon(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a CSV file as they were written: old releases of pandas miss the last digit of a number."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        return list(reader.fieldnames or []), list(reader)
