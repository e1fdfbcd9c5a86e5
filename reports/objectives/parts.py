"""Whether shares of single parts of the denoiser buy more than one share for all: the runs of `direct` in the record.

    dragon ablate reports/objectives/record.toml --workers 2 --out WORK
    python reports/objectives/parts.py WORK     # writes parts.csv and .md

Blends of three parts are measured on the prompts to watch, as `dragon blend` does. The best of them is the best of up
to twelve on the very prompts that it is reported on, so that what it is ahead by is the most that it can be.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd

from dragon_rewards.storage.results import write_table
from dragon_train.blend.columns import HELDOUT, KIND, REWARD, SHARE
from dragon_train.blend.commands import measure_blends

HERE = Path(__file__).parent
ARM, PARTS, SHARES = "direct", 3, "0.2,0.4"  # around the share that gains the most


def measured(work: Path) -> pd.DataFrame:
    """The figures of every blend of every run: a row for each seed and blend."""
    cells = json.loads((work / "record" / "ablation.json").read_text(encoding="utf-8"))["cells"]
    tables = []
    for cell in cells:
        if cell["arm"] == ARM:
            folder = work / "parts" / Path(cell["folder"]).name
            rows = measure_blends(work / cell["folder"], PARTS, SHARES, None, folder, None)
            tables.append(pd.DataFrame(rows).assign(seed=cell["seed"]))
    return pd.concat(tables, ignore_index=True)


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """For each mean share the gain of one share for all and of the best parts, with their held-out win rates."""
    best = table.loc[table.groupby(["seed", SHARE, KIND])[REWARD].idxmax()]
    rows = best.pivot_table(index=["seed", SHARE], columns=KIND, values=[REWARD, HELDOUT]).dropna()
    rows.columns = pd.Index([", ".join(pair) for pair in rows.columns])
    rows["ahead"] = rows[f"{REWARD}, per part"] - rows[f"{REWARD}, uniform"]
    grouped = rows.groupby(SHARE)
    return grouped.mean().join(grouped[f"{REWARD}, uniform"].std().rename("sd over seeds"))


def main() -> None:
    """Measure what is missing, then write the table."""
    table = compared(measured(Path(sys.argv[1])))
    write_table(HERE / "parts", table)
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
