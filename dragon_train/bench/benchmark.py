"""The benchmark: tune once per reward of a suite, compare each tuned model with the untuned one on held-out prompts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd
from msgspec import structs, to_builtins

from dragon_rewards import compose
from dragon_rewards.errors import ConfigError
from dragon_rewards.evaluation.score_tables import BASELINE
from dragon_rewards.names import RewardName
from dragon_rewards.provenance import provenance
from dragon_rewards.storage.files import write_text
from dragon_train.bench.evaluate import Evaluation, Scoring, generations, read_scores, run_model
from dragon_train.bench.launchers import Task
from dragon_train.bench.permutation import run_test
from dragon_train.bench.record import BenchmarkRecord, read_record
from dragon_train.bench.result_files import EMBEDDINGS, SETTINGS, TEST
from dragon_train.loop.run_folder import steps_done
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dragon_rewards.suites import ResolvedSlot
    from dragon_train.bench.launchers import Launcher
    from dragon_train.bench.presets import Preset
    from dragon_train.bench.workload import Workload
    from dragon_train.config import TrainConfig


@dataclass(frozen=True)
class Benchmark:
    """A benchmark: one tuning run for each chosen reward of a suite, and their comparison with the untuned model.

    Attributes:
        servings: the slots of the suite, each with the reward that serves it; these rewards score every model.
        tuned: names of the slots that get a tuning run.
        preset: how thorough it is.
        seed: of training and of the held-out generations.
        out: the folder of the results.
        workload: the pipeline that is tuned, and its prompts.
    """

    servings: tuple[ResolvedSlot, ...]
    tuned: tuple[str, ...]
    preset: Preset
    seed: int
    out: Path
    workload: Workload

    @property
    def served(self) -> dict[str, str]:
        """The name of the reward that serves each slot with a tuning run, by the name of the slot."""
        return {s.slot.reward: s.served for s in self.servings if s.slot.reward in self.tuned}

    @property
    def evaluation(self) -> Evaluation:
        """The way in which all models of the benchmark are compared."""
        return Evaluation.of(self.preset, self.seed)

    @property
    def of_sets(self) -> tuple[str, ...]:
        """The names of the runs that are tuned toward a reward of whole sets, which permutation tests judge too."""
        return tuple(run for run, served in self.served.items() if not compose(served).kind.per_clip)

    @property
    def title(self) -> str:
        """What is tuned, how thoroughly, and on which prompts it is compared if not on the exam's."""
        where = " on the prompts to watch" if self.workload.role == "watch" else ""
        return f"Benchmark of {self.workload.pipeline}{where}, preset {self.preset.name}"

    @property
    def runs(self) -> tuple[str, ...]:
        """The names of all runs, the untuned model's first."""
        return (BASELINE, *self.tuned)

    @property
    def unscored(self) -> list[str]:
        """The names of the runs that not all rewards have judged yet."""
        return [run for run in self.runs if self.scoring(run).missing(self.folder(run))]

    @property
    def untested(self) -> list[str]:
        """The names of the runs whose permutation test is still to be done."""
        return [run for run in self.of_sets if not (self.folder(run) / TEST).exists()]

    @property
    def steps_done(self) -> int:
        """The number of training steps that all runs have recorded."""
        return sum(steps_done(self.folder(run)) for run in self.tuned)

    @property
    def scores(self) -> pd.DataFrame:
        """The long frame of all scores that are there."""
        return pd.concat([read_scores(self.folder(run)) for run in self.runs], ignore_index=True)

    def scoring(self, run: str) -> Scoring:
        """Return how the model of a run is scored: by every reward of the suite, and by judges beside it.

        Embeddings for permutation tests and facets are kept: of a tuned model under its own reward, of the untuned
        model under all.
        """
        served = tuple(serving.served for serving in self.servings)
        own = served if run == BASELINE else (self.served[run],)
        return Scoring(self.evaluation, served, embedded=own, judged=True)

    def folder(self, run: str) -> Path:
        """Return the folder of a run; the untuned model's run is named as `BASELINE`."""
        return self.out / (BASELINE if run == BASELINE else RewardName.parse(run).slug)

    def config(self, run: str) -> TrainConfig | None:
        """Return the settings of a tuning run, or None for the untuned model."""
        if run == BASELINE:
            return None
        return replace(self.preset.config(compose(self.served[run]), self.seed), pipeline=self.workload.pipeline)

    def task(self, run: str) -> Task:
        """Return the task that tunes the model of a run and scores it."""
        return Task(run_model, self.folder(run), (run, self.workload, self.config(run), (self.scoring(run),)))

    def test(self, run: str) -> Task:
        """Return the task of the permutation test of a run, under its own reward, which judges whole sets."""
        folder, prompts = self.folder(run), self.workload.compared_on(self.preset.heldout_prompts)
        inputs = (self.folder(BASELINE) / EMBEDDINGS, folder / EMBEDDINGS)
        return Task(run_test, folder, (BASELINE, self.served[run], prompts), inputs)


def run_benchmarks(
    benchmarks: Sequence[Benchmark], launcher: Launcher, on_progress: Callable[[int], None]
) -> list[pd.DataFrame]:
    """Finish every run and every permutation test of benchmarks; results that are there already are kept.

    Args:
        benchmarks: what is run; the runs of all of them take their places together.
        launcher: what starts the runs.
        on_progress: is told, about once a second, the number of training steps done over all runs.

    Returns:
        Of each benchmark, the long frame of all scores, of the untuned model and of every tuned one.

    Raises:
        ConfigError: there are too few prompts, or a folder holds a benchmark with other settings.
        DragonError: a run was refused or a process killed, as `Launcher.run` describes.
    """
    records = [(benchmark, checked_record(benchmark)) for benchmark in benchmarks]

    def on_tick() -> None:  # the first comes when runs have begun, and a launcher has refused nothing
        for benchmark, record in records:
            claim(benchmark, record)
        on_progress(sum(benchmark.steps_done for benchmark in benchmarks))

    todo = [(benchmark, run) for benchmark in benchmarks for run in benchmark.unscored]
    todo.sort(key=lambda each: generations(each[0].config(each[1])), reverse=True)  # the longest first: none is alone
    launcher.run([benchmark.task(run) for benchmark, run in todo], on_tick)
    launcher.run([benchmark.test(run) for benchmark in benchmarks for run in benchmark.untested], on_tick)
    for benchmark, record in records:
        claim(benchmark, record)
    return [benchmark.scores for benchmark in benchmarks]


def checked_record(benchmark: Benchmark) -> BenchmarkRecord:
    """Return the settings of a benchmark as benchmark.json holds them.

    Raises:
        ConfigError: there are too few prompts, or the folder holds results that were made with other settings.
    """
    benchmark.workload.compared_on(benchmark.preset.heldout_prompts)
    benchmark.workload.check(config for run in benchmark.tuned if (config := benchmark.config(run)))
    wanted = BenchmarkRecord(
        preset=as_json(benchmark.preset),
        seed=benchmark.seed,
        rewards=tuple(serving.served for serving in benchmark.servings),
        pipeline=benchmark.workload.pipeline,
        prompts=benchmark.workload.digest,
        role=benchmark.workload.role,
    )
    found = read_record(benchmark.out) if (benchmark.out / SETTINGS).exists() else wanted
    for key in ("preset", "seed", "rewards", "pipeline", "prompts"):
        held = as_json(found.thoroughness) if key == "preset" else getattr(found, key)
        if held != getattr(wanted, key):
            raise ConfigError(
                f"{benchmark.out} holds a benchmark with another {key}; choose another --out or delete it"
            )
    return wanted


def as_json(preset: Preset) -> dict[str, Any]:
    """Return the fields of a preset as they are after they were written as JSON and read."""
    fields: dict[str, Any] = json.loads(json.dumps(asdict(preset)))
    return fields


def claim(benchmark: Benchmark, record: BenchmarkRecord) -> None:
    """Write the settings of a benchmark, with the provenance of its results, to benchmark.json unless it is there."""
    if not (benchmark.out / SETTINGS).exists():
        registry = load_train_registry()
        made_with = provenance(registry.plugins, weights=registry.pipeline(benchmark.workload.pipeline).weights)
        settings = to_builtins(structs.replace(record, provenance=made_with))
        write_text(benchmark.out / SETTINGS, json.dumps(settings, indent=2) + "\n")
