"""What a step of each objective costs, in the settings of record.toml and variants.toml: writes cost.csv and cost.md.

    python reports/objectives/cost.py       # ten minutes of one core

Two steps are taken, and the second is measured, on one thread of a CPU, in bfloat16 as in the record. Calls of the
denoiser are counted as they happen: 1 for each clip that goes through it, 3 if the gradient comes back.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from dragon_rewards.storage.results import write_table
from dragon_train.assembly import assemble
from dragon_train.bench.ablation.grid import load_grid
from dragon_train.bench.ablation.tuning_grid import make_tuning_grid
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.loop import train

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dragon_train.config import TrainConfig

HERE, GRIDS, STEPS, BACK = Path(__file__).parent, ("record", "variants"), 2, 3
PHASES = ("sampling", "decoding", "encoding", "selecting", "learning")


def configurations() -> dict[str, TrainConfig]:
    """The settings of each arm of the grids, with one seed."""
    grids = [make_tuning_grid(load_grid(str(HERE / f"{name}.toml")), HERE) for name in GRIDS]
    return {cell.axes["arm"]: cell.config for grid in grids for cell in grid.cells}


class Enough(Exception):  # noqa: N818  not an error: the steps that are wanted are done
    """Ends a run after its second step."""


def cost(arm: str, config: TrainConfig) -> dict[str, Any]:
    """The seconds of the second step, in each of its phases, and the calls of a step."""
    parts = assemble(config, torch.device("cpu"))
    rows: list[Mapping[str, Any]] = []
    calls: list[int] = []

    def count(_: object, __: object, output: tuple[torch.Tensor, ...]) -> None:
        calls.append(len(output[0]) * (BACK if output[0].requires_grad else 1))

    def note(row: Mapping[str, Any]) -> None:
        rows.append(row)
        if len(rows) == STEPS:
            raise Enough

    parts.policy.denoiser.register_forward_hook(count)
    with TemporaryDirectory() as folder, suppress(Enough):
        run = config, parts.policy, parts.reward, parts.objective, prompts("train"), Path(folder), note
        train(*run, device=torch.device("cpu"))
    seconds = {phase: float(rows[-1].get(f"{phase}_s", 0.0)) for phase in PHASES}
    each, whole = sum(calls) / STEPS, sum(seconds.values())
    return {"arm": arm, "calls": each, "seconds": whole, "ms a call": whole / each * 1000, **seconds}


def main() -> None:
    """A row for each arm, as they come."""
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for arm, config in configurations().items():
        rows.append(cost(arm, config))
        print(rows[-1], file=sys.stderr, flush=True)
        write_table(HERE / "cost", pd.DataFrame(rows))


if __name__ == "__main__":
    main()
