"""What the reward of each objective costs elsewhere: the runs of the record at shares of their change from 0 to 1.

    dragon ablate reports/objectives/record.toml --workers 2 --out WORK
    python reports/objectives/fronts.py WORK     # writes fronts.csv, at_equal_tax.csv and .md, and fronts.svg

Blends are measured on the prompts to watch, as `dragon blend` does; those in WORK/blends are not measured again. Two
processes share the runs where `fronts.py WORK 0` and `fronts.py WORK 1` are started first.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from dragon_rewards.storage.files import write_csv
from dragon_rewards.storage.results import write_table
from dragon_train.bench.ablation.figures import COLOURS, MARKERS, canvas_of, save, styled
from dragon_train.blend.columns import REWARD, SHARE, TAXES, WORDS
from dragon_train.blend.commands import measure_blends
from dragon_train.blend.shares import SHARES

HERE = Path(__file__).parent
BASE = "dpo"
NOTHING = ("raft", "grpo", "dno", "random clips")  # arms that bought no reward, so that there is nothing to share
FINE = np.linspace(0, 1, 101)  # shares between which a curve is read


def measured(work: Path, part: int | None) -> pd.DataFrame:
    """The figures of every share of every run: a row for each arm, seed and share."""
    cells = json.loads((work / "record" / "ablation.json").read_text(encoding="utf-8"))["cells"]
    cells = [cell for cell in cells if cell["arm"] not in NOTHING]
    tables = []
    for cell in cells if part is None else cells[part::2]:
        folder = work / "blends" / Path(cell["folder"]).name
        rows = measure_blends(work / cell["folder"], 1, SHARES, None, folder, None)
        tables.append(pd.DataFrame(rows).assign(arm=cell["arm"], seed=cell["seed"]))
    return pd.concat(tables, ignore_index=True)


def curves(table: pd.DataFrame) -> pd.DataFrame:
    """The means over seeds of each arm at each share."""
    return table.groupby(["arm", SHARE], as_index=False)[[REWARD, *taxes_in(table)]].mean()


def taxes_in(table: pd.DataFrame) -> list[str]:
    """The taxes that were measured."""
    return [tax for tax in TAXES if tax in table]


def at_equal_tax(means: pd.DataFrame) -> pd.DataFrame:
    """The most reward of each arm at a share that costs no more than all of Diffusion-DPO's change, for each tax."""
    found: dict[str, dict[str, float]] = {}
    for arm, rows in means.groupby("arm"):
        reward = np.interp(FINE, rows[SHARE], rows[REWARD])
        found[str(arm)] = {"whole": float(rows[REWARD].iloc[-1])}
        for tax in taxes_in(means):
            paid = -TAXES[tax] * np.interp(FINE, rows[SHARE], rows[tax])
            most = -TAXES[tax] * means[(means["arm"] == BASE) & (means[SHARE] == 1)][tax].item()
            found[str(arm)][tax] = float(reward[paid <= most].max(initial=0.0))
    return pd.DataFrame(found).T.rename_axis("arm").sort_values("whole", ascending=False)


def draw(path: Path, means: pd.DataFrame, arms: list[str]) -> None:
    """A panel for each tax: the curve of each arm from the untuned model to the whole of its change."""
    with styled():
        canvas, places = canvas_of(len(taxes_in(means)))
        for axes, tax in zip(places, taxes_in(means), strict=False):
            for arm, colour, marker in zip(arms, COLOURS, MARKERS, strict=False):
                rows = means[means["arm"] == arm]
                axes.plot(rows[REWARD], rows[tax], color=colour, marker=marker, markersize=4, label=arm)
            axes.set_xlabel(WORDS[REWARD])
            axes.set_ylabel(WORDS[tax])
        canvas.legend(*places[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
        save(canvas, path)


def main() -> None:
    """Measure what is missing, then write the tables and the figure."""
    work, part = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None
    table = measured(work, part)
    if part is not None:
        return
    write_csv(HERE / "fronts.csv", table)
    means = curves(table)
    equal = at_equal_tax(means)
    write_table(HERE / "at_equal_tax", equal)
    draw(HERE / "fronts.svg", means, [str(arm) for arm in equal.index[: len(COLOURS)]])
    print(equal.round(3).to_string())


if __name__ == "__main__":
    main()
