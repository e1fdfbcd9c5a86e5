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


def as_toml(config: TrainConfig) -> str:
    """Write every setting of a run as TOML; read back, it is the same configuration."""
    values = asdict(config)
    tables = {key: values.pop(key) for key in list(values) if isinstance(values[key], dict)}
    plain = [line for key, value in values.items() for line in (*_meaning(key), f"{key} = {_written(value)}", "")]
    nested = [line for key, table in tables.items() for line in (*_meaning(key), f"[{key}]", *_rows(table), "")]
    return "\n".join([*plain, *nested])


def _meaning(key: str) -> Iterator[str]:
    for line in wrap(described(field_kinds(TrainConfig)[key])[1], WIDTH):
        yield f"# {line}"


def _rows(table: dict[str, Any]) -> list[str]:
    return [f"{_written(name)} = {_written(value)}" for name, value in table.items()]


def _written(value: object) -> str:
    """Write a value as TOML has it: as JSON, except for one character that TOML does not allow unescaped.

    >>> _written(True), _written(1e-5), _written(("a", "b"))
    ('true', '1e-05', '["a", "b"]')
    """
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
