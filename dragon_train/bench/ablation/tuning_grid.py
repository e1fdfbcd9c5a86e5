"""Ablations of tuning runs: the cells that compose, the models they need, and where each result is kept."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dragon_rewards import compose
from dragon_rewards.errors import ComposeError, ConfigError, DragonError
from dragon_rewards.evaluation.score_tables import BASELINE
from dragon_rewards.names import RewardName
from dragon_train.bench.ablation.frames import FRAMES, Outcome
from dragon_train.bench.ablation.grid import EVALUATION, REWARD_PARTS
from dragon_train.bench.evaluate import Evaluation, Scoring, generations, read_scores, run_model, steps_done
from dragon_train.bench.launchers import Task
from dragon_train.bench.presets import load_preset
from dragon_train.bench.workload import choose_workload
from dragon_train.config import TrainConfig, train_config
from dragon_train.fields import check_value
from dragon_train.objectives.configured import make_objective

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from dragon_train.bench.ablation.grid import Grid, Point
    from dragon_train.bench.presets import Preset
    from dragon_train.bench.workload import Workload

MODELS = "models"


@dataclass(frozen=True)
class Cell:
    """A tuning run and its comparison with the untuned model.

    Attributes:
        axes: the values that set it apart.
        config: what is tuned.
        evaluation: how it is compared.
        rewards: what judges it: its own reward, then the grid's.
    """

    axes: Mapping[str, Any]
    config: TrainConfig
    evaluation: Evaluation
    rewards: tuple[str, ...]


@dataclass(frozen=True)
class TuningGrid:
    """What an ablation of tuning runs takes.

    Attributes:
        cells: those that compose.
        left_out: those that do not: their axes, and why.
        root: folder of the models, which all ablations share.
        subject: the pipeline that is tuned, and its prompts.
        unit: of the work.
    """

    cells: tuple[Cell, ...]
    left_out: tuple[tuple[Point, str], ...]
    root: Path
    workload: Workload
    unit: str = "training steps"

    @cached_property
    def scorings(self) -> dict[TrainConfig | None, dict[Evaluation, dict[str, None]]]:
        """Model -> evaluation -> the rewards of all cells that share them; the untuned model is judged by all."""
        models: dict[TrainConfig | None, dict[Evaluation, dict[str, None]]] = {}
        for cell in self.cells:
            for config in (None, cell.config):
                rewards = models.setdefault(config, {}).setdefault(cell.evaluation, {})
                rewards.update(dict.fromkeys(cell.rewards))
        return models

    @property
    def judges(self) -> list[str]:
        """Every reward that judges a cell."""
        return list(dict.fromkeys(name for cell in self.cells for name in cell.rewards))

    def tasks(self) -> list[Task]:
        """One for each model that lacks a result, the longest first: none runs on alone."""
        todo = [(config, self.missing(config)) for config in self.scorings]
        todo.sort(key=lambda each: generations(each[0]), reverse=True)
        return [
            Task(run_model, self.folder(config), (run_name(config), self.workload, config, missing))
            for config, missing in todo
            if missing
        ]

    @property
    def options(self) -> str:
        """What the command line names beside the grid."""
        return self.workload.options

    @property
    def settings(self) -> dict[str, str]:
        """What a rerun needs beside the grid."""
        return {"pipeline": self.workload.pipeline, "prompts": self.workload.digest}

    @property
    def total(self) -> int:
        """Steps of all tuning runs."""
        return sum(config.steps for config in self.scorings if config)

    def done(self) -> int:
        """Those that are done."""
        return sum(steps_done(self.folder(config)) for config in self.scorings if config)

    def listing(self) -> list[dict[str, Any]]:
        """The axes of every cell, the folder of its model, and whether all of it is there."""
        folders = [self.folder(cell.config).relative_to(self.root) for cell in self.cells]
        return [
            {**cell.axes, "folder": str(folder), "cached": self.cached(cell)}
            for cell, folder in zip(self.cells, folders, strict=True)
        ]

    def cached(self, cell: Cell) -> bool:
        """Whether a cell and its baseline need no further work."""
        wanted = Scoring(cell.evaluation, cell.rewards, place(cell.evaluation))
        return not any(wanted.missing(self.folder(config)) for config in (None, cell.config))

    def frame(self, name: str) -> pd.DataFrame:
        """The long frame of this name (`frames.FRAMES`), of finished cells."""
        return FRAMES[name]([self.outcome(cell) for cell in self.cells])

    def outcome(self, cell: Cell) -> Outcome:
        """What became of a cell, and of the untuned model under each seed of its evaluation that any cell uses."""
        seeds = {e.seed: e for e in self.scorings[None] if replace(e, seed=0) == replace(cell.evaluation, seed=0)}
        untuned = {seed: self.scores(None, evaluation, cell.rewards) for seed, evaluation in seeds.items()}
        tuned = self.scores(cell.config, cell.evaluation, cell.rewards)
        return Outcome(cell.axes, cell.rewards, cell.evaluation, tuned, untuned)

    def scores(self, config: TrainConfig | None, evaluation: Evaluation, rewards: Sequence[str]) -> pd.DataFrame:
        """Of one model."""
        return read_scores(self.folder(config) / place(evaluation), rewards)

    def folder(self, config: TrainConfig | None) -> Path:
        """Where a model and its scores are kept, whichever ablation asks."""
        slug = "untuned" if config is None else RewardName.parse(config.reward).slug
        made_of = [self.workload.pipeline, self.workload.digest, settings_of(config)]
        return self.root / MODELS / f"{slug}-{fingerprint(*made_of, *origins_of(config))}"

    def missing(self, config: TrainConfig | None) -> tuple[Scoring, ...]:
        """What a model has not been judged by yet."""
        folder = self.folder(config)
        wanted = (
            Scoring(evaluation, tuple(rewards), place(evaluation))
            for evaluation, rewards in self.scorings[config].items()
        )
        return tuple(scoring for scoring in wanted if scoring.missing(folder))


def make_tuning_grid(grid: Grid, root: Path, pipeline: str | None = None, prompts: Path | None = None) -> TuningGrid:
    """Put every cell together, before any work; `pipeline` and `prompts` as of `choose_workload`.

    Raises:
        DragonError: a setting that the trainer refuses, a reward of unknown parts, nothing that composes, or too few
            prompts.
    """
    try:
        preset = load_preset(grid.preset)
        cells, left_out = make_cells(grid, preset, pipeline or preset.pipeline)
    except DragonError as error:
        raise ConfigError(f"ablation '{grid.name}': {error}") from error
    heldout = max(cell.evaluation.heldout_prompts for cell in cells)
    workload = choose_workload(pipeline or preset.pipeline, prompts, heldout)
    workload.compared_on(heldout)
    workload.check(cell.config for cell in cells)
    return TuningGrid(tuple(cells), tuple(left_out), root, workload)


def make_cells(grid: Grid, preset: Preset, pipeline: str) -> tuple[list[Cell], list[tuple[Point, str]]]:
    """The combinations that compose, and the others, with the reason; raises as `make_tuning_grid`."""
    cells: list[Cell] = []
    left_out: list[tuple[Point, str]] = []
    for name in grid.score:
        compose(name)
    for axes, settings in grid.points():
        try:
            cells.append(make_cell(grid, preset, axes, {"pipeline": pipeline, **settings}))
        except Misfit as reason:
            left_out.append((axes, str(reason)))
    if not cells:
        raise ConfigError(f"no combination of its axes composes: {left_out[0][1]}")
    return cells, left_out


class Misfit(Exception):  # noqa: N818  not an error: the combination is left out, and listed
    """Parts that make no cell together, though each is known."""


def make_cell(grid: Grid, preset: Preset, axes: Point, settings: Point) -> Cell:
    """One combination.

    Raises:
        Misfit: it does not compose.
        DragonError: a key has a value that nothing takes.
    """
    name, seed = reward_name(settings), settings.get("seed", 0)
    base = preset.config(compose(name), seed)
    own = {key: value for key, value in settings.items() if key not in {*REWARD_PARTS, *EVALUATION, "reward", "seed"}}
    values = {each.name: getattr(base, each.name) for each in fields(TrainConfig)}
    config = train_config({**values, **own}, f"ablation {grid.name}")
    check_objective(config)
    judged = replace(preset, **{key: settings[key] for key in EVALUATION if key in settings})
    evaluation = Evaluation.of(judged, seed)
    return Cell(axes, config, evaluation, tuple(dict.fromkeys((name, *grid.score))))


def reward_name(settings: Point) -> str:
    """The reward that is named, or made of named parts.

    Raises:
        Misfit: the parts do not fit each other.
        ConfigError: there is none, or both are given.
    """
    parts = {key: settings[key] for key in REWARD_PARTS if key in settings}
    for key in ("reward", *REWARD_PARTS):
        check_value(key, settings.get(key, ""), str)
    if ("reward" in settings) == bool(parts):
        raise ConfigError("name a reward, or its parts reduction, encoder and exemplar_set, in axes or settings")
    if not parts:
        return compose(settings["reward"]).name
    try:
        return compose(str(RewardName(**parts))).name
    except ComposeError as error:
        raise Misfit(str(error).partition("; nearest")[0]) from None
    except TypeError:
        raise ConfigError(f"a reward has a reduction and an encoder, and only {', '.join(parts)} is given") from None


def check_objective(config: TrainConfig) -> None:
    """Raises Misfit where an objective does not go with a pairing, and otherwise what the objective raises."""
    paired = replace(config, pairing="paired")
    make_objective(paired)
    try:
        make_objective(config)
    except ConfigError as error:
        raise Misfit(str(error)) from None


def run_name(config: TrainConfig | None) -> str:
    """As the frame of scores has it."""
    return BASELINE if config is None else config.reward


def settings_of(config: TrainConfig | None) -> dict[str, Any]:
    """What a configuration says beyond the defaults, so that a key that is new changes no fingerprint."""
    values = {} if config is None else {each.name: getattr(config, each.name) for each in fields(config)}
    return {name: value for name, value in values.items() if value != getattr(DEFAULTS, name)}


def origins_of(config: TrainConfig | None) -> list[str]:
    """`Reward.origin` of all that a run is tuned by: what its result depends on beside its configuration."""
    return (
        [] if config is None else [compose(name).origin for name in (config.reward, *config.at_least, *config.heldout)]
    )


def place(evaluation: Evaluation) -> str:
    """Folder of an evaluation beneath its model's."""
    name = f"{evaluation.inference_steps}-steps-seed-{evaluation.seed}-{fingerprint(asdict(evaluation))}"
    return f"evaluations/{name}"


def fingerprint(*values: object) -> str:
    """Of values and the version of this package, whose code makes results of them."""
    text = json.dumps([version("dragon-rewards"), *values], sort_keys=True, default=dict)
    return sha256(text.encode()).hexdigest()[:10]


DEFAULTS = TrainConfig(reward="")
