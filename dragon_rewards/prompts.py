"""Prompts of audio files, from a table with the columns `path` and `prompt`."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import DragonError, MissingPromptsError
from dragon_rewards.formulas import unguarded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

SIDECAR = "prompts.csv"


def prompts_of(files: Sequence[Path], table: Path | None = None) -> list[str]:
    """The prompt of each file, from `table`, or else from the `prompts.csv` beside each file.

    Raises:
        MissingPromptsError: no table, or no prompt in it, for a file.
        DragonError: a table cannot be read.
    """
    tables = {file.parent / SIDECAR for file in files} if table is None else {table}
    known: dict[Path, str] = {}
    for source in sorted(tables):
        known |= read_prompts(source)
    missing = [str(file) for file in files if not known.get(file.resolve())]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        where = f"'{table}'" if table else f"a table {SIDECAR} beside it, or give one with --prompts"
        raise MissingPromptsError(f"no prompt for '{missing[0]}'{more}; add its path and prompt to {where}")
    return [known[file.resolve()] for file in files]


def read_prompts(table: Path) -> dict[Path, str]:
    """Resolved path -> prompt, of a CSV or JSONL table; its paths are relative to its own folder.

    Raises:
        MissingPromptsError: there is no such file.
        DragonError: a row lacks `path` or `prompt`, is malformed, or gives a path a second prompt.
    """
    if not table.is_file():
        raise MissingPromptsError(
            f"there is no table '{table}'; this reward compares clips with their prompts: "
            "write their paths and prompts to a CSV or JSONL file with the columns path and prompt"
        )
    prompts: dict[Path, str] = {}
    for line, row in _rows(table):
        path, prompt = (table.parent / _text(row, "path", table, line)).resolve(), _text(row, "prompt", table, line)
        if prompts.setdefault(path, prompt) != prompt:
            raise DragonError(f"'{table}', row {line}: '{row['path']}' has another prompt above; keep one of them")
    return prompts


def _rows(table: Path) -> Iterable[tuple[int, Any]]:
    try:
        text = table.read_text(encoding="utf-8-sig")
        if table.suffix.lower() == ".jsonl":
            return [(line, json.loads(row)) for line, row in enumerate(text.splitlines(), 1) if row.strip()]
        rows = csv.DictReader(text.splitlines(keepends=True))
        return [(line, {name: unguarded(cell) for name, cell in row.items()}) for line, row in enumerate(rows, 1)]
    except (OSError, ValueError, csv.Error) as error:
        raise DragonError(f"'{table}' cannot be read as a table of prompts: {error}") from error


def _text(row: Any, column: str, table: Path, line: int) -> str:
    value = row.get(column) if isinstance(row, dict) else None
    if not isinstance(value, str):
        raise DragonError(f"'{table}', row {line}: no text in column '{column}'; the columns are path and prompt")
    return value.strip()
