"""The benchmark: tune once per reward of a suite, compare each tuned model with the untuned one on held-out prompts."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pandas as pd
import torch

from dragon_rewards import compose
from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.evaluation import matched_subsets
from dragon_rewards.files import write_text
from dragon_rewards.names import RewardName
from dragon_rewards.report import provenance, write_parquet
from dragon_rewards.tables import BASELINE, scores_frame
from dragon_train.demonstrations import generate
from dragon_train.embedded.prompts import prompts
from dragon_train.objectives.configured import make_objective
from dragon_train.registry import load_train_registry
from dragon_train.run import METRICS
from dragon_train.seeds import Stream, seeds
from dragon_train.trainer import train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from dragon_rewards.suites import Serving
    from dragon_train.pipelines.base import Policy
    from dragon_train.presets import Preset

PIPELINE = "embedded"
SCORES, SETTINGS = "scores.parquet", "benchmark.json"


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        servings: the slots of the suite and the reward that serves each: what models are scored by.
        tuned: names of the slots that get a tuning run.
        preset: how thorough it is.
        seed: of training and of the held-out generations.
        out: the folder of the results.
    """

    servings: tuple[Serving, ...]
    tuned: tuple[str, ...]
    preset: Preset
    seed: int
    out: Path

    @property
    def served(self) -> dict[str, str]:
        """Slot -> name of the reward that serves it, of the slots that get a run."""
        return {s.slot.reward: s.served for s in self.servings if s.slot.reward in self.tuned}

    @property
    def trials(self) -> int:
        """Disjoint subsets of the held-out prompts: the independent trials of rewards that judge sets."""
        return self.preset.heldout_prompts // self.preset.subset_size

    def folder(self, run: str) -> Path:
        """Where one run is kept."""
        return self.out / (BASELINE if run == BASELINE else RewardName.parse(run).slug)

    def heldout(self) -> tuple[Sequence[str], Sequence[int]]:
        """Held-out prompts and the seed of each; the same for every model."""
        count, known = self.preset.heldout_prompts, prompts("heldout")
        if count > len(known):
            raise ConfigError(f"preset {self.preset.name}: heldout_prompts = {count}, but there are {len(known)}")
        return known[:count], seeds(Stream.HELDOUT, self.seed, count=count)


def run_benchmark(benchmark: Benchmark, workers: int, on_progress: Callable[[int], None]) -> pd.DataFrame:
    """Finish every run, `workers` at a time with one thread each; returns the long frame of all scores.

    `on_progress` is told, about once a second, the number of training steps done over all runs.
    """
    benchmark.heldout()
    claim(benchmark)
    runs = (BASELINE, *benchmark.tuned)
    todo = [run for run in runs if not (benchmark.folder(run) / SCORES).exists()]
    todo.sort(key=lambda run: generations(benchmark, run), reverse=True)  # the longest first: none runs on alone
    with ProcessPoolExecutor(workers, get_context("spawn"), prepare_worker) as pool:
        waiting: set[Future[None]] = {pool.submit(run_one, benchmark, run) for run in todo}
        while waiting:
            done, waiting = wait(waiting, timeout=1.0)
            on_progress(sum(steps_done(benchmark.folder(run)) for run in benchmark.tuned))
            for future in done:
                raise_and_cancel(future, waiting)
    return pd.concat([pd.read_parquet(benchmark.folder(run) / SCORES) for run in runs], ignore_index=True)


def generations(benchmark: Benchmark, run: str) -> int:
    """Pairs of clips that a run generates: what its time goes with."""
    if run == BASELINE:
        return 0
    config = benchmark.preset.config(compose(benchmark.served[run]), benchmark.seed)
    return config.steps * config.prompts_per_step


def prepare_worker() -> None:
    """One thread each; an interruption ends a worker at once and silently, since every finished step is on disk."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_and_cancel(future: Future[None], waiting: set[Future[None]]) -> None:
    """If a run failed, let no further one start; those under way finish and are kept."""
    if future.exception():
        for other in waiting:
            other.cancel()
    try:
        future.result()
    except BrokenProcessPool:
        raise DragonError(
            "a worker process was killed, perhaps for memory; the same command resumes, perhaps with fewer --workers"
        ) from None


def claim(benchmark: Benchmark) -> None:
    """Write the settings, or refuse a folder whose results were made with others."""
    path = benchmark.out / SETTINGS
    settings = {
        "preset": asdict(benchmark.preset),
        "seed": benchmark.seed,
        "rewards": [s.served for s in benchmark.servings],
    }
    if not path.exists():
        write_text(
            path, json.dumps({**settings, "provenance": provenance(load_train_registry().plugins)}, indent=2) + "\n"
        )
    found = json.loads(path.read_text(encoding="utf-8"))
    for key, value in settings.items():
        if found.get(key) != value:
            raise ConfigError(
                f"{benchmark.out} holds a benchmark with another {key}; choose another --out or delete it"
            )


def steps_done(folder: Path) -> int:
    """Training steps that a run has recorded."""
    path = folder / METRICS
    return len(path.read_text(encoding="utf-8").splitlines()) - 1 if path.exists() else 0


def run_one(benchmark: Benchmark, run: str) -> None:
    """Tune toward one reward (the untuned model toward none), generate for the held-out prompts, score by all."""
    registry = load_train_registry()
    policy = registry.pipeline(PIPELINE).factory()
    if run != BASELINE:
        reward = compose(benchmark.served[run])
        config = benchmark.preset.config(reward, benchmark.seed)
        objective = make_objective(config)
        train(config, policy, reward, objective, prompts("train"), benchmark.folder(run), on_step=lambda _: None)
    write_parquet(benchmark.folder(run) / SCORES, score_heldout(benchmark, policy, run))


def score_heldout(benchmark: Benchmark, policy: Policy, run: str) -> pd.DataFrame:
    """The long frame of one model on the held-out prompts."""
    (texts, seeds), preset = benchmark.heldout(), benchmark.preset
    clips = generate(policy, texts, seeds, preset.inference_steps, guidance=1.0).clips
    subsets = matched_subsets(len(texts), preset.subset_size, preset.rounds, benchmark.seed)
    rewards = [compose(serving.served) for serving in benchmark.servings]
    return scores_frame(run, PIPELINE, clips, rewards, subsets=subsets, seeds=seeds)
