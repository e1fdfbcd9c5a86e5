"""Put a configuration's parts together and train, with a progress bar; everything is checked before models load."""

from __future__ import annotations

import os
import random
import sys
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dragon_rewards import compose, load_registry, load_suite
from dragon_rewards.errors import ConfigError, UnknownNameError
from dragon_rewards.exemplars import captions
from dragon_rewards.mixture import compose_mixture, parts_of
from dragon_rewards.names import RewardName
from dragon_rewards.suites import serve
from dragon_train.embedded.prompts import prompts as embedded_prompts
from dragon_train.objectives.configured import completed, make_objective
from dragon_train.presets import load_preset
from dragon_train.registry import load_train_registry

MUSIC = "music_prompts.txt"

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import TaskID

    from dragon_rewards.mixture import Mixture
    from dragon_rewards.rewards import Reward
    from dragon_train.config import TrainConfig


def run_training(config: TrainConfig, prompts: Path | None, out: Path | None) -> Path:
    """Train as configured; returns the folder of the run."""
    config = completed(config)
    info = load_train_registry().pipeline(config.pipeline)
    reward = compose_mixture(config.reward)
    objective = make_objective(config)
    for name in (*config.heldout, *config.at_least):
        compose(name)
    texts, heldout = split(config, prompts)
    folder = out or Path("runs") / slug(config.reward)
    warn_of_small_encoders(config, reward)
    from dragon_train.team import check_trackers
    from dragon_train.trainer import train

    check_trackers(config.trackers)
    with progress() as bar:
        task = bar.add_task(config.reward, total=config.steps, note="")
        train(config, info.factory(), reward, objective, texts, folder, partial(show, bar, task), heldout)
    return folder


def warn_of_small_encoders(config: TrainConfig, reward: Reward | Mixture) -> None:
    """The embedded encoders learnt ten synthesised instruments: enough for the embedded pipeline, and for no other."""
    small = {part.encoder.name for part in parts_of(reward)} & {"clap", "vae"}
    if small and config.pipeline != "embedded" and leads():
        print(
            f"encoder '{min(small)}' is the embedded one, which has heard ten synthesised instruments: for a published "
            "model install one of the encoders of the field, such as plugins/dragon-reward-clap",
            file=sys.stderr,
        )


def show(bar: Progress, task: TaskID, row: dict[str, float]) -> None:
    """A line for each step: the reward, and where the time went."""
    seconds = {key.removesuffix("_s"): value for key, value in row.items() if key.endswith("_s") and value}
    total = sum(seconds.values())
    shares = ", ".join(f"{phase} {value / total:.0%}" for phase, value in seconds.items())
    bar.console.print(
        f"step {row['step']:.0f}: reward {row['reward']:.4g}, {total:.1f} s: {shares}", highlight=False, soft_wrap=True
    )
    bar.update(task, completed=row["step"])


def leads() -> bool:
    """Whether this is the only process of a run, or the first of those that a launcher started."""
    return int(os.environ.get("RANK", "0")) == 0


def slug(reward: str) -> str:
    """A folder's name for a reward, or for a mixture of several."""
    return "+".join(RewardName.parse(part.name).slug for part in parts_of(compose_mixture(reward)))


def split(config: TrainConfig, path: Path | None) -> tuple[Sequence[str], Sequence[str]]:
    """The prompts to train on, and those kept from training: the last of a list in random order.

    Without a list, the embedded model has prompts of its own, and other pipelines take the captions of the exemplar
    sets that the reward names, if they are enough, or else a list of music of all kinds.
    """
    wanted = config.prompts_per_step + config.heldout_prompts
    if path is None and config.pipeline == "embedded":
        return embedded_prompts("train"), embedded_prompts("heldout")[: config.heldout_prompts]
    texts = default_prompts(config, wanted) if path is None else read_prompts(path)
    if len(texts) < wanted:
        raise ConfigError(
            f"{path or MUSIC}: {len(texts)} prompts are too few for prompts_per_step = {config.prompts_per_step} and "
            f"heldout_prompts = {config.heldout_prompts}"
        )
    texts = shuffled(texts, config.seed)
    return texts[: len(texts) - config.heldout_prompts], texts[len(texts) - config.heldout_prompts :]


def default_prompts(config: TrainConfig, wanted: int) -> Sequence[str]:
    """The captions of the exemplar sets if they are enough, or music of all kinds; says which."""
    texts, source = described(config), "the captions of the exemplar sets"
    if len(texts) < wanted:
        texts, source = (
            read_prompts(Path(str(files("dragon_train"))) / MUSIC),
            f"{MUSIC}, which ships with dragon_train",
        )
    if leads():
        print(f"prompts: {source}; --prompts FILE names others", file=sys.stderr)
    return texts


def described(config: TrainConfig) -> Sequence[str]:
    """The captions of the reward's exemplar sets: what they hold is what is wanted."""
    sets = [part.exemplar_set for part in parts_of(compose_mixture(config.reward))]
    return list(dict.fromkeys(caption for chosen in sets if chosen for caption in captions(chosen)))


def run_bench(
    suite: str, preset: str, rewards: Sequence[str], out: Path | None, seed: int, launcher: str, workers: int | None
) -> list[dict[str, Any]]:
    """Run a benchmark and write its report; returns the rows of the win table."""
    servings = serve(load_suite(suite), load_registry())
    slots = [serving.slot.reward for serving in servings]
    for name in rewards:
        if name not in slots:
            raise UnknownNameError(f"reward of suite {suite}", name, slots)
    chosen = load_preset(preset)
    from dragon_train.benchmark import Benchmark, run_benchmark
    from dragon_train.benchmark_report import write_report
    from dragon_train.launchers import make_launcher

    folder = out or Path("runs") / f"bench-{Path(preset).stem}"
    benchmark = Benchmark(tuple(servings), tuple(rewards or slots), chosen, seed, folder)
    configs = [chosen.config(compose(name), seed) for name in benchmark.served.values()]
    engine = make_launcher(launcher, workers)
    with progress() as bar:
        task = bar.add_task(f"{len(configs)} rewards", total=sum(config.steps for config in configs), note="steps")
        frame = run_benchmark(benchmark, engine, lambda steps: bar.update(task, completed=steps))
    rows = write_report(benchmark, frame)
    print(f"report: {folder / 'README.md'}", file=sys.stderr)
    return rows


def list_ablations() -> list[dict[str, Any]]:
    """The shipped ablations."""
    from dragon_train.ablation.grid import load_grid, shipped_grids

    grids = [load_grid(name) for name in shipped_grids()]
    return [{"name": grid.name, "cells": len(list(grid.points())), "question": grid.question} for grid in grids]


def list_cells(name: str, out: Path) -> list[dict[str, Any]]:
    """The cells of an ablation, and whether they are there; says on stderr what does not compose."""
    from dragon_train.ablation.grid import load_grid
    from dragon_train.ablation.page import unique
    from dragon_train.ablation.run import plan_of

    plan = plan_of(load_grid(name), out)
    for axes, reason in unique(plan.left_out):
        print(f"left out: {', '.join(map(str, axes.values()))}: {reason}", file=sys.stderr)
    return plan.listing()


def run_ablate(name: str, out: Path, launcher: str, workers: int | None) -> dict[str, list[dict[Any, Any]]]:
    """Run an ablation and write its results; returns the rows of its tables."""
    from dragon_train.ablation.grid import load_grid
    from dragon_train.ablation.run import plan_of, run_ablation
    from dragon_train.launchers import make_launcher

    grid = load_grid(name)
    plan, engine = plan_of(grid, out), make_launcher(launcher, workers)
    with progress() as bar:
        task = bar.add_task(grid.name, total=plan.total, completed=plan.done(), note="")
        tables = run_ablation(grid, plan, engine, out, lambda done: bar.update(task, completed=done))
    print(f"results: {out / grid.name / 'README.md'}", file=sys.stderr)
    return {title: table.to_dict("records") for title, table in tables.items()}


def shuffled(prompts: Sequence[str], seed: int) -> Sequence[str]:
    """A user's list may be sorted, and steps take consecutive prompts."""
    return random.Random(seed).sample(prompts, len(prompts))


def read_prompts(path: Path) -> Sequence[str]:
    """Non-empty lines of a text file."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: prompts cannot be read ({error}); give a UTF-8 text file, one prompt per line"
        ) from None
    texts = [line for line in lines if line]
    if not texts:
        raise ConfigError(f"{path}: holds no prompt; write one per line")
    return texts


def progress() -> Progress:
    """A bar on stderr, so that stdout stays for results."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, quiet=not leads())
    return Progress(*columns, TextColumn("{task.fields[note]}"), console=console)
