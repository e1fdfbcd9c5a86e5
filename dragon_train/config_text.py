"""Write a configuration as text: TOML that `dragon train` reads back, with what each setting means as comments."""

from __future__ import annotations

import json
from dataclasses import asdict
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from dragon_train.config import TrainConfig
from dragon_train.fields import described, field_kinds

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH = 118  # of a line of a comment, less its mark


def as_toml(config: TrainConfig, options: type[Any] | None) -> str:
    """Write every setting of a run as TOML; read back, it is the same configuration.

    Args:
        config: the run.
        options: what describes the settings of its objective, if that has any.
    """
    values = asdict(config)
    tables = {key: values.pop(key) for key in list(values) if isinstance(values[key], dict)}
    plain = [line for key, value in values.items() for line in (*_entry(TrainConfig, key, value), "")]
    nested = [
        line
        for key, table in tables.items()
        for line in (*_meaning(TrainConfig, key), f"[{key}]", *_rows(options, table), "")
    ]
    return "\n".join([*plain, *nested])


def _entry(settings: Any, key: str, value: object) -> Iterator[str]:
    yield from _meaning(settings, key)
    yield f"{key} = {_written(value)}"


def _meaning(settings: Any, key: str) -> Iterator[str]:
    for line in wrap(described(field_kinds(settings)[key])[1], WIDTH):
        yield f"# {line}"


def _rows(settings: Any, table: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of an objective's settings."""
    for name, value in table.items():
        yield from _entry(settings, name, value) if settings else (f"{_written(name)} = {_written(value)}",)


def _written(value: object) -> str:
    """Write a value as TOML has it: as JSON, except for one character that TOML does not allow unescaped.

    >>> _written(True), _written(1e-5), _written(("a", "b"))
    ('true', '1e-05', '["a", "b"]')
    """
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
