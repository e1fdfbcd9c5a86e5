"""Make the tables of an ablation: means over the axes that a table does not name, with their spread over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards.storage.files import write_csv, write_text
from dragon_train.bench.ablation.grid import OWN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dragon_train.bench.ablation.grid import Figure, Table

SEED = "seed"


def shown_rows(frame: pd.DataFrame, shown: Table | Figure) -> pd.DataFrame:
    """Return the rows that a table or figure shows: those scored by the run's own reward, or by a reward that it names.

    A frame without a column `scored`, such as a study's, is shown whole.
    """
    if "scored" not in frame:
        return frame
    own = (frame["scored"] == frame["reward"]) & (OWN in shown.scored)
    return frame[own | frame["scored"].isin(shown.scored)]


def summary(frame: pd.DataFrame, keys: Sequence[str], value: str) -> pd.DataFrame:
    """Summarise each seed's mean of `value` over the seeds, for each combination of the columns `keys`.

    The columns are *keys, value (its name), mean, sd, lowest, highest and seeds (how many). `sd` is the standard
    deviation of one seed, with n - 1 in the denominator, and is missing where there is one seed only.
    """
    seeded = frame if SEED in frame else frame.assign(**{SEED: 0})
    means = seeded.groupby(list(dict.fromkeys([*keys, SEED])), sort=False, observed=True)[value].mean().reset_index()
    stats = means.groupby(list(keys), sort=False, observed=True)[value].agg(["mean", "std", "min", "max", "count"])
    stats.columns = pd.Index(["mean", "sd", "lowest", "highest", "seeds"])
    result = stats.reset_index()
    result.insert(len(keys), "value", value)
    return result


def tidy(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Return a row for each cell of a table, with the columns of `summary`."""
    rows, keys = shown_rows(frame, table), [*table.rows, *table.columns]
    return pd.concat([summary(rows, keys, value) for value in table.value], ignore_index=True)


def laid_out(rows: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Lay the cells of a table out in its rows and columns, as texts `mean ± sd`; cells without a value are empty."""
    lines: dict[tuple[Any, ...], dict[str, str]] = {}
    for row in rows.to_dict("records"):
        key = tuple(row[name] for name in table.rows)
        line = lines.setdefault(key, {name: str(row[name]) for name in table.rows})
        line[label(row, table)] = figure_of(row["mean"], row["sd"])
    return pd.DataFrame(list(lines.values())).fillna("")


def label(row: dict[Any, Any], table: Table) -> str:
    """Return the heading of the column in which a row of `tidy` is shown."""
    parts = [str(row[name]) if isinstance(row[name], str) else f"{name} {row[name]}" for name in table.columns]
    return ", ".join(parts if len(table.value) == 1 and parts else [*parts, row["value"]])


def figure_of(mean: float, sd: float) -> str:
    """Format a mean in four digits, with its standard deviation in two where there is one.

    >>> figure_of(0.81234, 0.0312), figure_of(0.5, float("nan"))
    ('0.8123 ± 0.031', '0.5')
    """
    return f"{mean:.4g}" if pd.isna(sd) else f"{mean:.4g} ± {sd:.2g}"


def write_tables(folder: Path, frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Write a table as `<name>.csv` (a row for each cell), `<name>.md` and `<name>.tex`, and return it as text."""
    rows = tidy(frame, table)
    text = laid_out(rows, table)
    latex = text.to_markdown(index=False, tablefmt="latex_booktabs", disable_numparse=True).replace("±", "$\\pm$")
    write_csv(folder / f"{table.name}.csv", rows)
    write_text(folder / f"{table.name}.md", f"{markdown(text)}\n")
    write_text(folder / f"{table.name}.tex", f"{latex}\n")
    return text


def markdown(text: pd.DataFrame) -> str:
    """Return a table of texts in Markdown, digit for digit: 0.50 is not made 0.5."""
    return text.to_markdown(index=False, disable_numparse=True)
