"""Read the grid of an ablation from TOML and check it: a question, axes, and the tables and figures that answer it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from importlib.resources import files
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dragon_rewards.errors import ConfigError, DragonError, UnknownNameError
from dragon_rewards.names import check_name
from dragon_train.bench.ablation.studies import load_study
from dragon_train.config import Names, TrainConfig, read_config
from dragon_train.fields import check_keys, check_value, field_kinds, with_tuples

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Point = dict[str, Any]

GRIDS = Path(str(files("dragon_train.bench.ablation"))) / "grids"
EVALUATION = ("heldout_prompts", "inference_steps", "subset_size", "rounds")
REWARD_PARTS = ("reduction", "encoder", "exemplar_set")
ARM = "arm"  # a name for settings that rules give together, as the arms of a trial have
KEYS = (
    ARM,
    *REWARD_PARTS,
    *EVALUATION,
    *sorted({each.name for each in fields(TrainConfig)} - {"pipeline", *EVALUATION}),
)
MAIN = "frame"  # the frame of comparisons, or of a study's rows
OWN = "own"  # the reward that a run was tuned toward
KINDS = ("bar", "line", "histogram")
MOST_CELLS = 10**5
TableOf = dict[str, Any]
FORM: dict[str, Any] = {  # the type of each key of a file
    **dict.fromkeys(("question", "source", "study", "preset"), str),
    "role": Literal["exam", "watch"],
    "axes": TableOf,
    "settings": TableOf,
    "score": Names,
    **dict.fromkeys(("when", "tables", "figures"), list[TableOf]),
}
COMPARED = (
    "reward", "scored", "kind", "direction", "before", "after", "gain", "win_rate", "lower", "p_value", "posterior",
    "wins", "trials", "low", "high", "effect",
)  # fmt: skip
COLUMNS = {
    MAIN: COMPARED,
    "scores": ("reward", "scored", "prompt_id", "generation_seed", "before", "after"),
    "terciles": ("reward", "scored", "binned_by", "tercile", "gain", "clips"),
}


@dataclass(frozen=True)
class Table:
    """A table of an ablation: means over the axes that it does not name, with the standard deviation over seeds.

    Attributes:
        name: of its files, without their suffix.
        rows: columns of the frame whose values become rows of the table.
        value: columns of the frame whose means are shown.
        columns: columns of the frame whose values become columns of the table.
        scored: the rewards under which runs are compared: names, or `own` for the reward that each run was tuned
            toward.
        frame: `frame` (comparisons, or what a study measured), `scores` (clip by clip) or `terciles` (by the untuned
            model's score).
        caption: heading on the page; by default it is made from the name.
    """

    name: str
    rows: Names
    value: Names
    columns: Names = ()
    scored: Names = (OWN,)
    frame: str = MAIN
    caption: str = ""

    @property
    def named(self) -> tuple[str, ...]:
        """The columns of the frame that the table uses, for its rows, its columns and its values."""
        return (*self.rows, *self.columns, *self.value)


@dataclass(frozen=True)
class Figure:
    """A figure of an ablation: y over x, a colour for each value of `series`, a panel for each value of `panels`.

    Attributes:
        name: of its file, without the suffix.
        kind: `bar`, `line`, or `histogram` (of the columns x, such as before and after).
        x: a column of the frame; of a histogram one or more.
        y: a column of the frame, its mean drawn with the standard deviation over seeds; none for a histogram.
        series: a column of the frame, or empty.
        panels: a column of the frame, or empty.
        scored: the rewards under which runs are compared: names, or `own` for the reward that each run was tuned
            toward.
        frame: `frame`, `scores` or `terciles`, as for a table.
        caption: heading on the page; by default it is made from the name.
    """

    name: str
    kind: str
    x: Names
    y: str = ""
    series: str = ""
    panels: str = ""
    scored: Names = (OWN,)
    frame: str = MAIN
    caption: str = ""

    @property
    def named(self) -> tuple[str, ...]:
        """The columns of the frame that the figure uses, for x, y, series and panels."""
        return tuple(filter(None, (*self.x, self.y, self.series, self.panels)))


@dataclass(frozen=True)
class Grid:
    """An ablation: a question, and the combinations of settings whose results are to answer it.

    Attributes:
        name: of the grid and of its folder.
        question: what it is to answer.
        axes: the values of each key that varies; every combination of them is a cell.
        source: where the question comes from.
        study: the name of a study without training; empty for tuning runs.
        preset: of the tuning runs and their comparison.
        role: of the prompts that are compared on: `exam` for claims, `watch` for choosing settings.
        score: rewards by which every run is judged beside its own.
        settings: values of keys that all cells share.
        when: rules; each gives the settings under `set` to the cells that match its other keys.
        tables: the tables that are written.
        figures: the figures that are drawn.
    """

    name: str
    question: str
    axes: Mapping[str, Sequence[Any]]
    source: str = ""
    study: str = ""
    preset: str = "ablation"
    role: Literal["exam", "watch"] = "exam"
    score: Names = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    when: tuple[Mapping[str, Any], ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()

    def points(self) -> Iterator[tuple[Point, Point]]:
        """Yield each combination of the axes: its values of the axes, and all settings of its cell, these among them.

        The rules in `when` apply in their order: a later one sees what earlier ones have set, and wins over them.
        """
        for values in product(*self.axes.values()):
            axes = dict(zip(self.axes, values, strict=True))
            settings = {**self.settings, **axes}
            for rule in self.when:
                if all(matches(settings.get(key), wanted) for key, wanted in rule.items() if key != "set"):
                    settings |= rule["set"]
            yield axes, settings

    @property
    def frames(self) -> set[str]:
        """The names of the frames that the tables and figures show, and of the main frame, which is always written."""
        return {MAIN, *(table.frame for table in self.tables), *(figure.frame for figure in self.figures)}


def matches(value: object, wanted: object) -> bool:
    """Tell whether a setting equals `wanted`, or one value of a list, or fits a pattern such as `dataset-fad:*`."""
    if isinstance(wanted, list):
        return any(matches(value, each) for each in wanted)
    return fnmatchcase(value, wanted) if isinstance(value, str) and isinstance(wanted, str) else value == wanted


def shipped_grids() -> dict[str, Path]:
    """Return the files of the grids that come with the package, by name."""
    return {path.stem: path for path in sorted(GRIDS.glob("*.toml"))}


def load_grid(name_or_path: str) -> Grid:
    """Load a shipped grid by its name, or the grid in a TOML file by the path of the file.

    Raises:
        UnknownNameError: no grid of this name is shipped.
        ConfigError: the file cannot be read, or holds a key or value that nothing understands.
    """
    shipped, path = shipped_grids(), Path(name_or_path)
    if path.suffix != ".toml":
        if name_or_path not in shipped:
            raise UnknownNameError("ablation", name_or_path, shipped)
        path = shipped[name_or_path]
    values = read_config(path)
    try:
        return parse(check_name(path.stem), values)
    except DragonError as error:
        raise ConfigError(f"'{path}': {error}") from None


def parse(name: str, values: Mapping[str, Any]) -> Grid:
    """Make a grid of the values of a TOML file, after a check of every key and value.

    Raises:
        ConfigError: a key is missing or unknown, or a value is not allowed.
        UnknownNameError: there is no such study.
    """
    check_keys(values, [each.name for each in fields(Grid) if each.name != "name"], "grid")
    for key in ("question", "axes"):
        if key not in values:
            raise ConfigError(f"'{key}' is missing")
    for key, value in values.items():
        check_value(key, value, FORM[key])
    study = values.get("study", "")
    for key in ("preset", "role", "score", "when"):
        if study and key in values:
            raise ConfigError(f"'{key}' is of tuning runs, and the study '{study}' tunes nothing; leave it out")
    check_settings(values, load_study(study).keys if study else KEYS)
    given = with_tuples(values)
    given["tables"] = tuple(specified(Table, each, "tables") for each in values.get("tables", ()))
    given["figures"] = tuple(specified(Figure, each, "figures") for each in values.get("figures", ()))
    grid = Grid(**given, name=name)
    shown: list[Table | Figure] = [*grid.tables, *grid.figures]
    for each in shown:
        check_columns(each, grid)
    return grid


def check_settings(values: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse keys that no run has, axes without values, too many combinations, and rules that set nothing.

    Raises:
        ConfigError: names the key.
    """
    check_keys(values["axes"], known, "axes")
    check_keys(values.get("settings", {}), known, "settings")
    for key, axis in values["axes"].items():
        if not isinstance(axis, list) or not axis:
            raise ConfigError(f"axes.{key} = {axis!r}: must be a list of at least one value")
    if (cells := prod(map(len, values["axes"].values()))) > MOST_CELLS:
        raise ConfigError(f"axes: {cells:,} combinations are more than {MOST_CELLS:,}; leave values out")
    for rule in values.get("when", ()):
        if not isinstance(rule.get("set"), dict):
            raise ConfigError("when: 'set' is missing; write for example set = { learning_rate = 1e-5 }")
        check_keys({key: None for key in rule if key != "set"}, known, "when")
        check_keys(rule["set"], known, "when.set")
    for arm in values["axes"].get(ARM, ()):
        if not any(ARM in rule and matches(arm, rule[ARM]) for rule in values.get("when", ())):
            raise ConfigError(f"axes.arm: no table in 'when' has arm = {arm!r}, and gives it settings")


def specified(kind: Any, values: Mapping[str, Any], source: str) -> Any:
    """Make a table or a figure of the TOML table that describes it; a single name is taken as a list of one.

    Args:
        kind: `Table` or `Figure`.
        values: what the TOML table holds.
        source: the key of the TOML table, for messages.

    Raises:
        ConfigError: a key is missing or unknown, or a value is not allowed.
    """
    kinds = field_kinds(kind)
    check_keys(values, list(kinds), source)
    given = {
        key: (value,) if kinds[key] == Names and isinstance(value, str) else value
        for key, value in with_tuples(values).items()
    }
    for key, value in given.items():
        check_value(f"{source}: {key}", value, kinds[key])
    try:
        return kind(**given)
    except TypeError as error:
        raise ConfigError(f"{source}: {str(error).partition(') ')[2] or error}") from None


def check_columns(shown: Table | Figure, grid: Grid) -> None:
    """Refuse a table or figure of an unknown kind or frame, or with columns that the frame will not have.

    Raises:
        ConfigError: names the table or figure.
    """
    what = f"{type(shown).__name__.lower()} '{shown.name}'"
    check_name(shown.name)
    if isinstance(shown, Figure) and shown.kind not in KINDS:
        raise ConfigError(f"{what}: kind = '{shown.kind}': choose one of {', '.join(KINDS)}")
    if grid.study:
        known = load_study(grid.study).columns
    elif shown.frame in COLUMNS:
        known = COLUMNS[shown.frame]
    else:
        raise ConfigError(f"{what}: frame = '{shown.frame}': choose one of {', '.join(COLUMNS)}")
    check_keys(dict.fromkeys(shown.named), [*grid.axes, *known], what)
