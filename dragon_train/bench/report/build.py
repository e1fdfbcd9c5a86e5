"""Make of results and pairs of clips what the page shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dragon_train.bench.report import charts
from dragon_train.bench.report.comparison import (
    benchmark_facts,
    cross_map,
    distribution,
    diversity,
    further_table,
    win_notes,
    wins_table,
)
from dragon_train.bench.report.cost import time_chart, time_notes
from dragon_train.bench.report.paired_comparisons import remedy
from dragon_train.bench.report.runs import heldout_table, run_view
from dragon_train.bench.report.view import Cell, Chart, PageView, Table, key_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dragon_train.bench.report.paired_comparisons import PairedComparison
    from dragon_train.bench.report.pairs import Pair
    from dragon_train.bench.report.source import BenchmarkTables, Results, TrainedRun
    from dragon_train.bench.report.view import RunView
    from dragon_train.loop.run_folder import Provenance

HELDOUT = (
    "Last comparison with the untuned model on prompts kept from training, with the same seeds; ties are half. The "
    "line reaches down to the one-sided 95% Clopper-Pearson bound. Rewards of sets compare random quarters of the "
    "prompts, and count four trials at most."
)


def build(results: Results, comparisons: Sequence[PairedComparison], pairs: Mapping[str, Sequence[Pair]]) -> PageView:
    """Make the content of the page of a folder of results.

    Args:
        results: what the folder holds.
        comparisons: what the pairs were made from, for each run that has some.
        pairs: the pairs of each run that has some, by the name of the run.
    """
    by_name = {comparison.run.name: comparison for comparison in comparisons}
    runs = tuple(run_view(run, by_name.get(run.name), pairs.get(run.name, ())) for run in results.runs)
    shared = {
        "runs": runs,
        "time": time_chart(results),
        "time_notes": time_notes(results),
        "versions": key_values("Versions", versions(results.provenance)),
        "plugins": plugins(results.provenance),
        "silent": "" if pairs else silence(results),
    }
    if results.benchmark:
        return benchmark_page(results, results.benchmark, shared)
    return run_page(results.runs[0], runs[0], shared)


def run_page(run: TrainedRun, view: RunView, shared: Mapping[str, Any]) -> PageView:
    """Make the content of the page of one run.

    Args:
        run: its results.
        view: what is shown of it.
        shared: the fields that any page has.
    """
    config = run.config
    lead = f"Pipeline {config.pipeline}, tuned toward this reward with {config.objective} ({config.tuning})."
    wins = heldout_table(run)
    return PageView(
        title=run.name,
        lead=lead,
        facts=view.facts,
        wins=wins,
        wins_notes=(HELDOUT,) if wins else (),
        configuration=view.configuration,
        **shared,
    )


def benchmark_page(results: Results, tables: BenchmarkTables, shared: Mapping[str, Any]) -> PageView:
    """Make the content of the page of a benchmark.

    Args:
        results: all that its folder holds.
        tables: the benchmark's own part of it.
        shared: the fields that any page has.
    """
    preset, wins = tables.settings.thoroughness, tables.wins
    return PageView(
        title=f"Benchmark, preset {Path(preset.name).stem}",
        lead=f"Pipeline {tables.settings.pipeline}, tuned once for each of {len(wins)} rewards, and "
        f"compared with the untuned model on {preset.heldout_prompts} held-out prompts.",
        facts=benchmark_facts(results.runs, wins),
        wins=Chart("Win rates", charts.win_rates(wins), wins_table(wins)),
        wins_notes=win_notes(wins, preset),
        carried=further_table("Win rates under held-out rewards", tables.carried),
        confounders=further_table("Length, loudness and silence", tables.confounders),
        cross=cross_map(tables),
        distributions=tuple(distribution(tables.scores, row) for row in wins.to_dict("records")),
        diversity=diversity(tables),
        configuration=key_values("Preset", {**tables.settings.preset, "seed": tables.settings.seed}),
        **shared,
    )


def silence(results: Results) -> str:
    """Explain why the page has no players, and what makes some."""
    if any(run.finished for run in results.runs):
        return "The page was made without players; `dragon report` makes them with --pairs 8."
    return f"This folder holds no weights, so nothing can be played: {remedy(results)}."


def versions(provenance: Provenance) -> Mapping[str, Any]:
    """Return the versions of interpreter, platform and packages, and the device and processors, by name."""
    shown = ("python", "platform", "device", "cpus", "threads")
    found = {key: value for key, value in provenance.items() if key in shown}
    return {**provenance.get("packages", {}), **found}


def plugins(provenance: Provenance) -> Table:
    """Return a table of the plugins that were loaded, and then of those that failed."""
    loaded = [
        (Cell(plugin["name"]), Cell(plugin["package"]), Cell(plugin["version"]))
        for plugin in provenance.get("plugins", ())
    ]
    failed = [(Cell(failure), Cell("failed"), Cell("")) for failure in provenance.get("failed_plugins", ())]
    return Table("Plugins", ("plugin", "package", "version"), (*loaded, *failed))
