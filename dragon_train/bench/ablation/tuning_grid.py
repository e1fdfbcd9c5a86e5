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
from dragon_train.bench.ablation.grid import ARM, EVALUATION, REWARD_PARTS
from dragon_train.bench.evaluate import Evaluation, Scoring, generations, read_scores, run_model
from dragon_train.bench.launchers import Task
from dragon_train.bench.presets import load_preset
from dragon_train.bench.workload import choose_workload
from dragon_train.config import TrainConfig, train_config
from dragon_train.fields import check_value
from dragon_train.loop.run_folder import steps_done
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
    """One cell of a grid: a tuning run and its comparison with the untuned model.

    Attributes:
        axes: the values of the axes that set it apart, by key.
        config: settings of the tuning run.
        evaluation: how the tuned model is compared with the untuned one.
        rewards: names of what judges it: its own reward, then the grid's.
    """

    axes: Mapping[str, Any]
    config: TrainConfig
    evaluation: Evaluation
    rewards: tuple[str, ...]


@dataclass(frozen=True)
class TuningGrid:
    """The work of a grid whose cells are tuning runs; see `GridWork`.

    Attributes:
        cells: those that compose.
        left_out: the values of the axes of combinations that do not compose, and why.
        root: folder of the models, which all ablations share.
        workload: the pipeline that is tuned, and its prompts.
        unit: in which the work is counted.
    """

    cells: tuple[Cell, ...]
    left_out: tuple[tuple[Point, str], ...]
    root: Path
    workload: Workload
    unit: str = "training steps"

    @cached_property
    def scorings(self) -> dict[TrainConfig | None, dict[Evaluation, dict[str, None]]]:
        """The evaluations of each model, and the rewards that judge each evaluation, over all cells that share it.

        The key None is the untuned model, which is judged by the rewards of all cells. The innermost mapping is an
        ordered set of names.
        """
        models: dict[TrainConfig | None, dict[Evaluation, dict[str, None]]] = {}
        for cell in self.cells:
            for config in (None, cell.config):
                rewards = models.setdefault(config, {}).setdefault(cell.evaluation, {})
                rewards.update(dict.fromkeys(cell.rewards))
        return models

    @property
    def judges(self) -> list[str]:
        """The names of all rewards that judge a cell, each once."""
        return list(dict.fromkeys(name for cell in self.cells for name in cell.rewards))

    def tasks(self) -> list[Task]:
        """Return a task for each model that lacks a result, the longest first: none runs on alone at the end."""
        todo = [(config, self.missing(config)) for config in self.scorings]
        todo.sort(key=lambda each: generations(each[0]), reverse=True)
        return [
            Task(run_model, self.folder(config), (run_name(config), self.workload, config, missing))
            for config, missing in todo
            if missing
        ]

    @property
    def options(self) -> str:
        """The options `--pipeline` and `--prompts` that the command line needs beside the grid, each after a space."""
        return self.workload.options

    @property
    def settings(self) -> dict[str, str]:
        """The pipeline and the digest of the prompts: what a rerun must share beside the grid."""
        return {"pipeline": self.workload.pipeline, "prompts": self.workload.digest}

    @property
    def total(self) -> int:
        """The number of training steps of all tuning runs, done or not."""
        return sum(config.steps for config in self.scorings if config)

    def done(self) -> int:
        """Return the number of training steps that are done."""
        return sum(steps_done(self.folder(config)) for config in self.scorings if config)

    def listing(self) -> list[dict[str, Any]]:
        """Return a row for each cell: its values of the axes, its model's folder, whether it is finished (`cached`)."""
        folders = [self.folder(cell.config).relative_to(self.root) for cell in self.cells]
        return [
            {**cell.axes, "folder": str(folder), "cached": self.cached(cell)}
            for cell, folder in zip(self.cells, folders, strict=True)
        ]

    def cached(self, cell: Cell) -> bool:
        """Tell whether a cell and the untuned model have all scores that the cell needs."""
        wanted = Scoring(cell.evaluation, cell.rewards, place(cell.evaluation))
        return not any(wanted.missing(self.folder(config)) for config in (None, cell.config))

    def frame(self, name: str) -> pd.DataFrame:
        """Return the long frame of this name (`frames.FRAMES`) over all cells, which are finished by then."""
        return FRAMES[name]([self.outcome(cell) for cell in self.cells])

    def outcome(self, cell: Cell) -> Outcome:
        """Return a cell's scores, and the untuned model's with every seed that any cell of the same evaluation uses."""
        seeds = {e.seed: e for e in self.scorings[None] if replace(e, seed=0) == replace(cell.evaluation, seed=0)}
        untuned = {seed: self.scores(None, evaluation, cell.rewards) for seed, evaluation in seeds.items()}
        tuned = self.scores(cell.config, cell.evaluation, cell.rewards)
        return Outcome(cell.axes, cell.rewards, cell.evaluation, tuned, untuned)

    def scores(self, config: TrainConfig | None, evaluation: Evaluation, rewards: Sequence[str]) -> pd.DataFrame:
        """Return the scores of one model under one evaluation, by these rewards; None is the untuned model."""
        return read_scores(self.folder(config) / place(evaluation), rewards)

    def folder(self, config: TrainConfig | None) -> Path:
        """Return the folder where a model and its scores are kept, the same for every ablation that needs the model."""
        slug = "untuned" if config is None else RewardName.parse(config.reward).slug
        made_of = [self.workload.pipeline, self.workload.digest, settings_of(config)]
        return self.root / MODELS / f"{slug}-{fingerprint(*made_of, *origins_of(config))}"

    def missing(self, config: TrainConfig | None) -> tuple[Scoring, ...]:
        """Return the evaluations in which a model lacks the scores of a reward; None is the untuned model."""
        folder = self.folder(config)
        wanted = (
            Scoring(evaluation, tuple(rewards), place(evaluation))
            for evaluation, rewards in self.scorings[config].items()
        )
        return tuple(scoring for scoring in wanted if scoring.missing(folder))


def make_tuning_grid(grid: Grid, root: Path, pipeline: str | None = None, prompts: Path | None = None) -> TuningGrid:
    """Put every cell of a grid together and check it, before any work.

    Args:
        grid: what is asked; it names no study.
        root: folder of the models and their scores.
        pipeline: what is tuned, if not what the preset says.
        prompts: file of prompts to tune and compare on, as `choose_workload` takes it.

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
    workload = choose_workload(pipeline or preset.pipeline, prompts, heldout, grid.role)
    workload.compared_on(heldout)
    workload.check(cell.config for cell in cells)
    return TuningGrid(tuple(cells), tuple(left_out), root, workload)


def make_cells(grid: Grid, preset: Preset, pipeline: str) -> tuple[list[Cell], list[tuple[Point, str]]]:
    """Return the cells of the combinations that compose, and the other combinations, each with the reason.

    Raises:
        DragonError: a setting that the trainer refuses, a reward of unknown parts, or nothing that composes.
    """
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
    """Make the cell of one combination of the axes.

    Args:
        grid: which the combination is of.
        preset: settings that the combination overrides.
        axes: the combination's values of the axes.
        settings: all settings of the cell, those values among them.

    Raises:
        Misfit: its parts do not compose, or its objective does not go with its pairing.
        DragonError: a key has a value that nothing takes.
    """
    name, seed = reward_name(settings), settings.get("seed", 0)
    base = preset.config(compose(name), seed)
    others = {ARM, *REWARD_PARTS, *EVALUATION, "reward", "seed"}
    own = {key: value for key, value in settings.items() if key not in others}
    values = {each.name: getattr(base, each.name) for each in fields(TrainConfig)}
    config = train_config({**values, **own}, f"ablation {grid.name}")
    check_objective(config)
    judged = replace(preset, **{key: settings[key] for key in EVALUATION if key in settings})
    evaluation = Evaluation.of(judged, seed)
    return Cell(axes, config, evaluation, tuple(dict.fromkeys((name, *grid.score))))


def reward_name(settings: Point) -> str:
    """Return the name of the reward that settings name, or compose from the parts that they name.

    Raises:
        Misfit: the parts do not fit each other.
        ConfigError: neither a reward nor parts are named, or both are, or a part is missing.
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
    """Refuse an objective that does not go with the pairing of a configuration.

    Raises:
        Misfit: it goes with paired clips, and not with this pairing.
        ConfigError: it goes with no pairing.
    """
    paired = replace(config, pairing="paired")
    make_objective(paired)
    try:
        make_objective(config)
    except ConfigError as error:
        raise Misfit(str(error)) from None


def run_name(config: TrainConfig | None) -> str:
    """Return the name of a model's run in a frame of scores: the reward, or the name of the baseline."""
    return BASELINE if config is None else config.reward


def settings_of(config: TrainConfig | None) -> dict[str, Any]:
    """Return the settings that differ from the defaults, so that a setting that is new changes no fingerprint."""
    values = {} if config is None else {each.name: getattr(config, each.name) for each in fields(config)}
    return {name: value for name, value in values.items() if value != getattr(DEFAULTS, name)}


def origins_of(config: TrainConfig | None) -> list[str]:
    """Return `Reward.origin` of each reward that a run uses: what its result depends on beside its configuration."""
    return (
        [] if config is None else [compose(name).origin for name in (config.reward, *config.at_least, *config.heldout)]
    )


def place(evaluation: Evaluation) -> str:
    """Return the folder of an evaluation, relative to the folder of its model."""
    name = f"{evaluation.inference_steps}-steps-seed-{evaluation.seed}-{fingerprint(asdict(evaluation))}"
    return f"evaluations/{name}"


def fingerprint(*values: object) -> str:
    """Return ten hexadecimal digits that change with these values and with the version of this package.

    The version counts because the code of this package makes results of the values.
    """
    text = json.dumps([version("dragon-rewards"), *values], sort_keys=True, default=dict)
    return sha256(text.encode()).hexdigest()[:10]


DEFAULTS = TrainConfig(reward="")
