"""Put a configuration's parts together and train, with a progress bar; everything is checked before models load."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dragon_rewards import compose, load_registry, load_suite
from dragon_rewards.errors import ConfigError, UnknownNameError
from dragon_rewards.names import RewardName
from dragon_rewards.suites import serve
from dragon_train.embedded.prompts import prompts as embedded_prompts
from dragon_train.presets import load_preset
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon_train.config import TrainConfig
    from dragon_train.objectives import Objective


def run_training(config: TrainConfig, prompts: Path | None, out: Path | None) -> Path:
    """Train as configured; returns the folder of the run."""
    registry = load_train_registry()
    info = registry.pipeline(config.pipeline)
    reward, objective = compose(config.reward), make_objective(config)
    texts = embedded_prompts("train") if prompts is None else shuffled(read_prompts(prompts), config.seed)
    folder = out or Path("runs") / RewardName.parse(config.reward).slug
    from dragon_train.trainer import train

    with progress() as bar:
        task = bar.add_task(config.reward, total=config.steps, note="")

        def on_step(row: dict[str, float]) -> None:
            note = f"reward {row['reward']:.4g}, D+ {row['positive_reward']:.4g}"
            bar.update(task, completed=row["step"], note=note)

        train(config, info.factory(), reward, objective, texts, folder, on_step)
    return folder


def run_bench(
    suite: str, preset: str, rewards: Sequence[str], out: Path | None, seed: int, workers: int
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

    folder = out or Path("runs") / f"bench-{Path(preset).stem}"
    benchmark = Benchmark(tuple(servings), tuple(rewards or slots), chosen, seed, folder)
    configs = [chosen.config(compose(name), seed) for name in benchmark.served.values()]
    with progress() as bar:
        task = bar.add_task(f"{len(configs)} rewards", total=sum(config.steps for config in configs), note="steps")
        frame = run_benchmark(benchmark, workers, lambda steps: bar.update(task, completed=steps))
    rows = write_report(benchmark, frame)
    print(f"report: {folder / 'README.md'}", file=sys.stderr)
    return rows


def make_objective(config: TrainConfig) -> Objective:
    """The objective of a configuration, refused where it needs pairs that the configuration does not give."""
    info = load_train_registry().objective(config.objective)
    if info.paired_only and config.pairing != "paired":
        raise ConfigError(
            f'objective \'{info.name}\' compares clips of the same prompt: use pairing = "paired", or objective = "kto"'
        )
    return info.factory(config.beta)


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
    return Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True))
