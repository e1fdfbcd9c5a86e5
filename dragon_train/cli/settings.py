"""Options of the command line that are settings of a run: each is made of its field of `TrainConfig`."""

from __future__ import annotations

from dataclasses import MISSING, fields
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import inspect

from dragon_rewards.mixture import compose_mixture
from dragon_train.bench.presets import load_preset
from dragon_train.cli.completion import objectives, pipelines, rewards
from dragon_train.config import TrainConfig, read_config, train_config
from dragon_train.fields import described, field_kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

TYPES = {inspect.IntType: int, inspect.FloatType: float, inspect.BoolType: bool, inspect.VarTupleType: list[str]}
DEFAULTS = {field.name: field.default for field in fields(TrainConfig) if field.default is not MISSING}
ALL = tuple(name for name in field_kinds(TrainConfig) if name != "options")  # a table, which a file has room for
COMPLETED = {
    **dict.fromkeys(("reward", "at_least", "heldout"), rewards),
    "pipeline": pipelines,
    "objective": objectives,
}
GIVEN = "given"  # the parameter of a command that takes the settings


def with_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds an option for each of these settings to a command.

    The command gets the settings that the user gave, by name, as its keyword argument `given`.
    """

    def added(command: Callable[..., None]) -> Callable[..., None]:
        own = [each for each in signature(command, eval_str=True).parameters.values() if each.name != GIVEN]
        options = [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=option(name)) for name in names]

        def run(**values: Any) -> None:
            given = {name: values.pop(name) for name in names}
            command(**values, given={name: value for name, value in given.items() if value not in (None, [])})

        parameters = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in own]
        run.__signature__ = Signature([*parameters, *options])  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in (*parameters, *options)}
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        return run

    return added


def option(name: str) -> Any:
    """Return the annotation by which typer makes the option of a setting: its type, range, default and meaning."""
    info, meaning = described(field_kinds(TrainConfig)[name])
    typed: Any = TYPES.get(type(info), str)
    values = [str(value) for value in info.values] if isinstance(info, inspect.LiteralType) else []
    least, most = getattr(info, "ge", None), getattr(info, "le", None)
    bounds: dict[str, Any] = {"min": least, "max": most} if typed in {int, float} else {}
    shown = DEFAULTS.get(name)
    default = str(shown) if shown not in (None, ()) else False
    completed = COMPLETED.get(name, (lambda: values) if values else None)
    shape: dict[str, Any] = {
        "metavar": "|".join(values) or None,
        "show_default": default,
        "autocompletion": completed,
        **bounds,
    }
    return Annotated[typed | None, typer.Option(help=meaning, **shape)]


def configured(file: Path | None, given: Mapping[str, Any], verb: str, preset: str | None = None) -> TrainConfig:
    """Return the settings in a file, overridden by the settings on the command line.

    Args:
        file: TOML file of settings, or None.
        given: the settings of the command line, by name.
        verb: what messages call the command line, where there is no file.
        preset: a preset of the benchmark, which gives what neither of them names, and rewards beside the reward.

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown or has a value that it does not allow.
        DragonError: the preset is refused, or the reward does not compose.
    """
    values, source = {**(read_config(file) if file else {}), **given}, str(file or verb)
    checked = train_config(values, source)
    if preset is None:
        return checked
    base = load_preset(preset).config(compose_mixture(checked.reward), checked.seed)
    settings = {each.name: getattr(base, each.name) for each in fields(TrainConfig)}
    return train_config({**settings, **values, "reward": base.reward}, source)
