"""Make of results and pairs of clips what the page shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dragon_rewards.terminal.printable import counted
from dragon_train.bench.report.comparison import benchmark_facts, changes_section, wins_section
from dragon_train.bench.report.cost import time_chart, time_notes
from dragon_train.bench.report.facets import facets_section
from dragon_train.bench.report.further_tables import further_sections
from dragon_train.bench.report.heldout_comparison import heldout_section
from dragon_train.bench.report.paired_comparisons import remedy
from dragon_train.bench.report.runs import run_view
from dragon_train.bench.report.side_effects import cross_section, distributions_section, diversity_section
from dragon_train.bench.report.source import FACETS
from dragon_train.bench.report.tables import key_values
from dragon_train.bench.report.view import Cell, PageView, Section, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dragon_train.bench.report.paired_comparisons import PairedComparison
    from dragon_train.bench.report.pairs import PairSet
    from dragon_train.bench.report.source import BenchmarkTables, Results, TrainedRun
    from dragon_train.bench.report.view import RunView
    from dragon_train.loop.run_folder import Provenance


def build(results: Results, comparisons: Sequence[PairedComparison], pairs: Mapping[str, PairSet]) -> PageView:
    """Make the content of the page of a folder of results.

    Args:
        results: what the folder holds.
        comparisons: what the pairs were made from, for each run that has some.
        pairs: the pairs of each run that has some, by the name of the run.
    """
    by_name = {comparison.run.name: comparison for comparison in comparisons}
    runs = tuple(run_view(run, by_name.get(run.name), pairs.get(run.name)) for run in results.runs)
    shared = {
        "runs": runs,
        "time": time_chart(results),
        "time_notes": time_notes(results),
        "silent": "" if pairs else silence(results),
    }
    if results.benchmark:
        return benchmark_page(results, results.benchmark, pairs, shared)
    return run_page(results.runs[0], runs[0], shared)


def run_page(run: TrainedRun, view: RunView, shared: Mapping[str, Any]) -> PageView:
    """Make the content of the page of one run.

    Args:
        run: its results.
        view: what is shown of it.
        shared: the fields that any page of runs has.
    """
    config = run.config
    wins = heldout_section(run)
    return PageView(
        title=run.name,
        lead=f"Pipeline {config.pipeline}, tuned toward this reward with {config.objective} ({config.tuning}).",
        facts=view.facts,
        sections=(wins,) if wins else (),
        settings=(view.configuration, *made_with(run.provenance)),
        **shared,
    )


def benchmark_page(
    results: Results, tables: BenchmarkTables, pairs: Mapping[str, PairSet], shared: Mapping[str, Any]
) -> PageView:
    """Make the content of the page of a benchmark.

    Args:
        results: all that its folder holds.
        tables: the benchmark's own part of it.
        pairs: the pairs of each run that has some, by the name of the run.
        shared: the fields that any page of runs has.
    """
    preset, wins = tables.settings.thoroughness, tables.wins
    settings = key_values("Preset", {**tables.settings.preset, "seed": tables.settings.seed})
    return PageView(
        title=f"Benchmark, preset {Path(preset.name).stem}",
        lead=f"Pipeline {tables.settings.pipeline}, tuned once for each of {counted(len(wins), 'reward')}, and "
        f"compared with the untuned model on {counted(preset.heldout_prompts, 'held-out prompt')}.",
        facts=benchmark_facts(results.runs, wins),
        sections=benchmark_sections(tables, pairs),
        settings=(settings, *made_with(results.provenance)),
        **shared,
    )


def benchmark_sections(tables: BenchmarkTables, pairs: Mapping[str, PairSet]) -> tuple[Section, ...]:
    """Return what a benchmark compares, question by question, as far as its folder has the tables."""
    sections = (
        changes_section(tables.wins),
        wins_section(tables),
        *further_sections(tables.further),
        facets_section(tables.further[FACETS], pairs) if FACETS in tables.further else None,
        cross_section(tables),
        distributions_section(tables),
        diversity_section(tables),
    )
    return tuple(section for section in sections if section)


def silence(results: Results) -> str:
    """Explain why the page has no players, and what makes some."""
    if any(run.finished for run in results.runs):
        return (
            "The page was made without players and the changes of their pairs; `dragon report` makes both by --pairs 8."
        )
    return f"This folder holds no weights, so nothing can be played: {remedy(results)}."


def made_with(provenance: Provenance) -> tuple[Table, Table]:
    """Return what made the results: versions with the device, and plugins."""
    return key_values("Versions", versions(provenance)), plugins(provenance)


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
