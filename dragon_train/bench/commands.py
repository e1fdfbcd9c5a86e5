"""Put the parts of a benchmark or an ablation together, check them, and run them with a progress bar."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dragon_rewards import compose, load_registry, load_suite
from dragon_rewards.errors import UnknownNameError
from dragon_rewards.guard import resumable
from dragon_rewards.mixture import compose_mixture
from dragon_rewards.storage.files import check_folder
from dragon_rewards.storage.locks import locked
from dragon_rewards.suites import serve
from dragon_rewards.terminal.printable import counted
from dragon_rewards.terminal.progress import progress
from dragon_train.bench.presets import load_preset
from dragon_train.bench.seeds import check_place, seed_folder
from dragon_train.bench.workload import choose_workload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dragon_train.bench.benchmark import Benchmark
    from dragon_train.bench.launchers import Launcher
    from dragon_train.bench.workload import Role


def run_bench(
    suite: str,
    preset: str,
    rewards: Sequence[str],
    pipeline: str | None,
    prompts: Path | None,
    out: Path | None,
    seeds: int | Sequence[int],
    real: Path | None,
    engine: Callable[[], Launcher],
    role: Role = "exam",
) -> list[dict[str, Any]]:
    """Run a benchmark, or one for each seed, write the report, and return the rows of the win table or seeds table.

    Args:
        suite: name of a suite, or path of its TOML file.
        preset: name of a preset, or path of its TOML file.
        rewards: the rewards of the suite to tune toward; none means all.
        pipeline: what is tuned; None leaves it to the preset.
        prompts: file of prompts to tune and compare on; None takes the pipeline's own or the shipped ones.
        out: folder of the results; None is `runs/bench-<preset>`, with `-seeds` after it for several seeds.
        seeds: of training and of the held-out generations; of several, each has a benchmark `seed-<seed>` in `out`.
        real: folder of real held-out clips, which are measured beside the models; None takes what ships, if anything.
        engine: makes the launcher, once all names are checked.
        role: of the prompts to compare on.

    Raises:
        UnknownNameError: the suite has no such reward.
        DragonError: a part is missing or refused; all that can be checked is checked before any run starts.
    """
    several = None if isinstance(seeds, int) else seeds
    folder = out or Path("runs") / f"bench-{Path(preset).stem}{'' if several is None else '-seeds'}"
    check_folder(folder, "--out")
    check_place(folder, several)
    servings = serve(load_suite(suite), load_registry())
    slots = [serving.slot.reward for serving in servings]
    for name in rewards:
        if name not in slots:
            raise UnknownNameError(f"reward of suite {suite}", name, slots)
    chosen = load_preset(preset)
    workload = choose_workload(pipeline or chosen.pipeline, prompts, chosen.heldout_prompts, role)
    for serving in servings:
        compose(serving.served).require_weights()
    launcher = engine()
    from dragon_train.bench.benchmark import Benchmark  # imports torch: what needs it not is refused by now

    places = {seeds: folder} if isinstance(seeds, int) else {seed: seed_folder(folder, seed) for seed in seeds}
    parts = (tuple(servings), tuple(rewards or slots), chosen)
    return _run([Benchmark(*parts, seed, place, workload) for seed, place in places.items()], folder, real, launcher)


def _run(benchmarks: Sequence[Benchmark], folder: Path, real: Path | None, launcher: Launcher) -> list[dict[str, Any]]:
    """Run benchmarks, write the report of each, and the one over all where they lie in a common folder."""
    from dragon_train.bench.benchmark import run_benchmarks
    from dragon_train.bench.headline import headline, read_outcomes, sentences
    from dragon_train.bench.real_clips import measure_real
    from dragon_train.bench.seed_tables import write_seeds
    from dragon_train.bench.tables import write_report

    configs = [config for each in benchmarks for run in each.tuned if (config := each.config(run))]
    for name in dict.fromkeys(
        name for config in configs for name in (config.reward, *config.heldout, *config.at_least)
    ):
        for part in compose_mixture(name).parts:
            part.require_weights()
    with resumable(kept_runs), ExitStack() as stack:
        for held in dict.fromkeys([folder, *(each.out for each in benchmarks)]):
            stack.enter_context(locked(held))
        if real is not None:
            measure_real(benchmarks, real, launcher)
        bar = stack.enter_context(
            progress(counted(len(configs), "run"), "training steps", sum(config.steps for config in configs))
        )
        frames = run_benchmarks(benchmarks, launcher, bar.update)
        tables = [write_report(each, frame) for each, frame in zip(benchmarks, frames, strict=True)]
        rows = tables[0] if benchmarks[0].out == folder else write_seeds(folder, benchmarks)
    for line in [*sentences(headline(read_outcomes(benchmarks))), f"report: {folder / 'README.md'}"]:
        print(line, file=sys.stderr)
    return rows


def kept_runs() -> str:
    """Say in words what is kept of runs that were stopped, and how they go on."""
    return "finished runs and the finished steps of others are kept; the same command goes on from there"


def list_ablations() -> list[dict[str, Any]]:
    """Return the name, the number of combinations and the question of each ablation that comes with the package."""
    from dragon_train.bench.ablation.grid import load_grid, shipped_grids

    grids = [load_grid(name) for name in shipped_grids()]
    return [{"name": grid.name, "combinations": len(list(grid.points())), "question": grid.question} for grid in grids]


def list_cells(name: str, out: Path, pipeline: str | None, prompts: Path | None) -> list[dict[str, Any]]:
    """Return a row for each cell of an ablation, and say on stderr which combinations do not compose.

    Args:
        name: of a shipped ablation, or the path of a TOML file.
        out: folder of all ablations.
        pipeline: as for `run_ablate`.
        prompts: as for `run_ablate`.
    """
    from dragon_train.bench.ablation.grid import load_grid

    grid = load_grid(name)
    from dragon_train.bench.ablation.grid_work import make_grid_work
    from dragon_train.bench.ablation.readme import unique

    work = make_grid_work(grid, out, pipeline, prompts)
    for axes, reason in unique(work.left_out):
        print(f"left out: {', '.join(map(str, axes.values()))}: {reason}", file=sys.stderr)
    return work.listing()


def run_ablate(
    name: str, out: Path, pipeline: str | None, prompts: Path | None, engine: Callable[[], Launcher]
) -> dict[str, list[dict[Any, Any]]]:
    """Run an ablation, write its results to `out/<name>/`, and return the rows of each of its tables.

    Args:
        name: of a shipped ablation, or the path of a TOML file.
        out: folder of all ablations, which share their runs.
        pipeline: what is tuned; None leaves it to the preset.
        prompts: file of prompts to tune and compare on; None takes the pipeline's own or the shipped ones.
        engine: makes the launcher.

    Raises:
        DragonError: the ablation, a part of it or the folder is refused, or a run failed.
    """
    from dragon_train.bench.ablation.grid import load_grid

    check_folder(out, "--out")
    grid, launcher = load_grid(name), engine()
    from dragon_train.bench.ablation.grid_work import make_grid_work

    work = make_grid_work(grid, out, pipeline, prompts)
    for reward in work.judges:
        compose(reward).require_weights()
    from dragon_train.bench.ablation.run import (
        run_ablation,  # the name is checked before the figures' library is asked for
    )

    with resumable(kept_runs), locked(out), progress(grid.name, work.unit, work.total) as bar:
        bar.update(work.done())
        tables = run_ablation(grid, work, launcher, out, bar.update)
    print(f"results: {out / grid.name / 'README.md'}", file=sys.stderr)
    return {title: table.to_dict("records") for title, table in tables.items()}
