"""`dragon` in this process, and the types of fixtures that run it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from dragon_train.cli.app import app

if TYPE_CHECKING:
    from typer.testing import Result

Dragon = Callable[..., "Result"]
Rows = Callable[..., list[dict[str, Any]]]
Refused = Callable[..., str]


def dragon(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))
