"""A grid in TOML: a question, its axes, and the tables and figures that answer it; checked when it is read."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from importlib.resources import files
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
KEYS = (*REWARD_PARTS, *EVALUATION, *sorted({each.name for each in fields(TrainConfig)} - {"pipeline", *EVALUATION}))
MAIN = "frame"  # of comparisons, or of a study's rows
OWN = "own"  # the reward that a run was tuned toward
KINDS = ("bar", "line", "histogram")
MOST_CELLS = 10**5
TableOf = dict[str, Any]
FORM: dict[str, Any] = {  # of a file, key by key
    **dict.fromkeys(("question", "source", "study", "preset"), str),
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
    """A table: means over the axes that it does not name, with the standard deviation over seeds.

    Attributes:
        name: of its files.
        rows: columns of the frame that become rows; likewise `columns`.
        value: columns of the frame whose means are shown.
        scored: the rewards under which runs are compared: names, or `own`.
        frame: `frame` (comparisons, or what a study measured), `scores` (clip by clip) or `terciles` (by the untuned
            model's score).
        caption: what it shows.
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
        """All columns of the frame that it uses."""
        return (*self.rows, *self.columns, *self.value)


@dataclass(frozen=True)
class Figure:
    """A figure: y over x, a colour for each value of `series`, a panel for each of `panels`.

    Attributes:
        name: of its file.
        kind: `bar`, `line`, or `histogram` (of the columns x, such as before and after).
        x: a column of the frame; of a histogram one or more.
        y: a column of the frame, its mean drawn with the standard deviation over seeds.
        series: a column of the frame, or none.
        panels: likewise.
        scored: as of a table.
        frame: as of a table.
        caption: what it shows.
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
        """All columns of the frame that it uses."""
        return tuple(filter(None, (*self.x, self.y, self.series, self.panels)))


@dataclass(frozen=True)
class Grid:
    """An ablation.

    Attributes:
        name: of the grid and its folder.
        question: what it is to answer.
        axes: key -> values; every combination is a cell.
        source: where the question comes from.
        study: the name of a study without training; none for tuning runs.
        preset: of the tuning runs and their comparison.
        score: rewards by which every run is judged beside its own.
        settings: keys that all cells share.
        when: settings of the cells that match the other keys.
        tables: what is shown.
        figures: likewise.
    """

    name: str
    question: str
    axes: Mapping[str, Sequence[Any]]
    source: str = ""
    study: str = ""
    preset: str = "ablation"
    score: Names = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    when: tuple[Mapping[str, Any], ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()

    def points(self) -> Iterator[tuple[Point, Point]]:
        """Every combination of the axes, with all its settings; of several `when` that match, later ones win."""
        for values in product(*self.axes.values()):
            axes = dict(zip(self.axes, values, strict=True))
            settings = {**self.settings, **axes}
            for rule in self.when:
                if all(matches(settings.get(key), wanted) for key, wanted in rule.items() if key != "set"):
                    settings |= rule["set"]
            yield axes, settings

    @property
    def frames(self) -> set[str]:
        """Names of the frames that there are to be."""
        return {MAIN, *(table.frame for table in self.tables), *(figure.frame for figure in self.figures)}


def matches(value: object, wanted: object) -> bool:
    """Whether a setting has a value, one of several, or one that a pattern such as `dataset-fad:*` describes."""
    if isinstance(wanted, list):
        return any(matches(value, each) for each in wanted)
    return fnmatchcase(value, wanted) if isinstance(value, str) and isinstance(wanted, str) else value == wanted


def shipped_grids() -> dict[str, Path]:
    """Name -> file of the grids that come with the package."""
    return {path.stem: path for path in sorted(GRIDS.glob("*.toml"))}


def load_grid(name_or_path: str) -> Grid:
    """A shipped grid, or the one in a TOML file.

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
    """Check every key and value."""
    check_keys(values, [each.name for each in fields(Grid) if each.name != "name"], "grid")
    for key in ("question", "axes"):
        if key not in values:
            raise ConfigError(f"'{key}' is missing")
    for key, value in values.items():
        check_value(key, value, FORM[key])
    study = values.get("study", "")
    for key in ("preset", "score", "when"):
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
    """Refuse keys that no run has, and axes without values."""
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


def specified(kind: Any, values: Mapping[str, Any], source: str) -> Any:
    """A table or a figure as its TOML table describes it."""
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
    """Refuse a table or figure of columns that there will not be."""
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
