"""Put the parts of `dragon blend` together: check everything, then measure the blends of a run, or write one."""

from __future__ import annotations

import sys
from functools import cache
from shlex import quote
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import ConfigError
from dragon_rewards.storage.files import check_folder
from dragon_rewards.storage.locks import locked
from dragon_rewards.terminal.printable import counted
from dragon_rewards.terminal.progress import progress
from dragon_rewards.weights import require_weights
from dragon_train.blend.plan import make_plan
from dragon_train.blend.shares import PARTS, SHARES, read_shares
from dragon_train.loop.run_folder import check_result, stored_config
from dragon_train.loop.start import start_of
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pandas as pd
    import torch

    from dragon_train.blend.measure import Meter
    from dragon_train.blend.plan import Plan
    from dragon_train.blend.record import Results
    from dragon_train.blend.shares import Shares


def measure_blends(
    run: Path, parts: int, shares: str, prompts: Path | None, out: Path | None, device: str | None
) -> list[dict[str, Any]]:
    """Measure the blends of a run, write the results, and return the main columns of the table.

    Blends that were measured before are read from the folder; if all were, no model is loaded.

    Args:
        run: the folder of the run.
        parts: the number of parts of the denoiser that get shares of their own.
        shares: the shares that all parts have together, separated by commas.
        prompts: a file of prompts; None for those that the run kept from training.
        out: the folder of the results; None for `blend` in the run's.
        device: where blends are made, as `find_device` takes it.

    Raises:
        DragonError: the run, an option or the folder is refused, before any model is loaded; or there are more parts
            than blocks, before anything is generated.
    """
    plan, folder = make_plan(run, parts, read_shares(shares, "--shares"), prompts), out or run / "blend"
    check_folder(folder, "--out")
    from dragon_rewards.compute.devices import find_device  # imports torch, which a refused option need not wait for
    from dragon_train.blend.fronts import main_columns
    from dragon_train.blend.record import RECORD, Results, checked_record
    from dragon_train.blend.write import PAGE, write_blends

    record, where = checked_record(folder, plan), find_device(device)
    with locked(folder), progress("blends", "blends", len(plan.blends)) as bar:
        table = measured(plan, Results(folder / RECORD, record, where), bar.advance)
        write_blends(folder, plan, table, command(run, parts, shares, prompts, out))
    print(f"results: {folder / PAGE}", file=sys.stderr)
    return [{str(name): value for name, value in row.items()} for row in table[main_columns(table)].to_dict("records")]


def measured(plan: Plan, results: Results, on_blend: Callable[[], object]) -> pd.DataFrame:
    """Return the table of all blends of a plan; what is in the results already is not measured again."""
    from dragon_train.blend.curves import per_part, uniform
    from dragon_train.blend.fronts import table_of

    @cache
    def meter() -> Meter:
        return load_meter(plan, results.device)

    def measure(shares: Shares) -> Mapping[str, float]:
        figures = results.get(shares, lambda asked: meter().figures(asked))
        on_blend()
        return figures

    return table_of([*uniform(plan.shares, plan.parts, measure), *per_part(plan.shares, plan.parts, measure)])


def load_meter(plan: Plan, device: torch.device) -> Meter:
    """Load the models, and let the untuned one generate what blends are compared with."""
    from dragon_train.blend.measure import Meter
    from dragon_train.blend.weights import load_blending
    from dragon_train.pipelines.lengths import set_length

    blending = load_blending(plan.info, plan.run, plan.parts, device)
    set_length(blending.policy, plan.prompts)
    return Meter(plan, blending)


def command(run: Path, parts: int, shares: str, prompts: Path | None, out: Path | None) -> str:
    """Return the command line that measures these blends."""
    given = {
        "--parts": (str(parts), str(PARTS)),
        "--shares": (shares, SHARES),
        "--prompts": (str(prompts or ""), ""),
        "--out": (str(out or ""), ""),
    }
    options = [f"{name} {quote(value)}" for name, (value, default) in given.items() if value != default]
    return " ".join(["dragon blend", quote(str(run)), *options])


def save_blend(run: Path, parts: int, shares: str, to: Path, device: str | None) -> None:
    """Write a blend of a run to a folder, as the result of a run.

    Args:
        run: the folder of the run.
        parts: the number of parts of the denoiser.
        shares: one for each part, separated by commas, or one for all.
        to: the folder; it must be empty, or not there.
        device: where the weights are blended, as `find_device` takes it.

    Raises:
        DragonError: the run, the shares or the folder is refused, or nothing can be written.
    """
    check_result(run)
    start_of(run)
    chosen = read_shares(shares, "--save")
    if len(chosen) not in {1, parts}:
        raise ConfigError(
            f"--save {shares}: {counted(len(chosen), 'share')} for {counted(parts, 'part')}; give one, or one for "
            "each part"
        )
    if to.is_dir() and any(to.iterdir()):
        raise ConfigError(f"--to {to}: the folder is not empty; choose another")
    check_folder(to, "--to")
    info = load_train_registry().pipeline(stored_config(run).pipeline)
    require_weights(f"pipeline '{info.name}'", info.weights)
    from dragon_rewards.compute.devices import find_device
    from dragon_train.blend.save import write_blend

    write_blend(run, chosen, to, find_device(device))
