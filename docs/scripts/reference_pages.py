"""Pages of the reference that are made of the program: commands, settings of a run, plugins, and former names."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer.main
from generated import ROOT

from dragon_rewards.former_names import MOVED
from dragon_train.cli.app import app
from dragon_train.cli.settings import ALL
from dragon_train.config import TrainConfig
from dragon_train.fields import allowed, described, field_kinds

if TYPE_CHECKING:
    from collections.abc import Iterator

HOOKS = ("encoders", "reductions", "exemplar_sets", "pipelines", "adapters", "objectives")
VALUES = {str: "TEXT", int: "INTEGER", float: "NUMBER", Path: "PATH"}
SUFFIX = "s"  # of what a hook registers several of
COMMANDS = """\
# Commands

This page is made of the program at every build; `dragon VERB --help` shows the same in a terminal."""
SETTINGS = """\
# Settings of a run

A run is described by `TrainConfig`: a TOML file, options of `dragon train`, or both, of which options win. This page is
made of its fields. `dragon train --print-config` prints them all as a file, and a key that nothing reads is refused."""
PLUGINS = """\
# Plugins

Each is a package under `plugins` of the repository, and installed from a clone. Weights are looked for in
`$DRAGON_WEIGHTS/<folder>/` and in the cache of the Hugging Face hub (`HF_HOME`). The packages were built and tested
with random weights of the real classes, and released weights have not been run yet. `dragon-reward-musicnn` is the
exception: it brings released weights."""
RENAMES = """\
# Renamed modules

What `dragon_rewards` and `dragon_train` export themselves has kept its names. Modules below them have moved since 0.1.
Where the last column says so, a module can be imported under its former name until 0.3, with a `DeprecationWarning`
that says where it is now.

## Modules
"""
SYMBOLS = """
## Classes and functions
"""


def cell(text: str) -> str:
    """Return a text that stays in its cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def commands() -> str:
    """Return the page of every verb with its arguments and options."""
    verbs = sorted(_verbs(typer.main.get_command(app), "dragon"), key=lambda verb: verb[0])
    return "\n\n".join([COMMANDS, *(_verb(path, command) for path, command in verbs)]) + "\n"


def _verbs(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", {})
    for name, child in children.items():
        yield from _verbs(child, f"{path} {name}")
    if not children or command.invoke_without_command:
        yield path, command


def _verb(path: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    usage = " ".join([path, *map(_usage, arguments), *["[OPTIONS]"] * bool(options)])
    rows = [*((_usage(each), each) for each in arguments), *((_flags(each), each) for each in options)]
    lines = [f"| `{cell(shown)}` | {cell(getattr(each, 'help', None) or '')}{_default(each)} |" for shown, each in rows]
    table = "\n".join(["| argument or option | what it does |", "|:--|:--|", *lines]) if lines else ""
    return "\n\n".join(filter(None, [f"## {path}", command.help or "", f"```text\n{usage}\n```", table]))


def _usage(argument: Any) -> str:
    shown = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return shown if argument.required else f"[{shown}]"


def _flags(option: Any) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    return names if option.is_flag else f"{names} {_value(option.type_descriptor.annotation)}"


def _value(annotation: Any) -> str:
    """Return what stands for the value of an option, as in PATH; of a list it stands for one of its values."""
    (kind,) = get_args(annotation) or (annotation,)
    return VALUES.get(kind, "VALUE")


def _default(parameter: Any) -> str:
    value = parameter.default
    shown = isinstance(value, int | float | str) and not isinstance(value, bool) and value != ""
    several = " It may be given several times." if getattr(parameter, "multiple", False) else ""
    return f" Default: `{value}`." if shown else several


def settings() -> str:
    """Return the page of every field of TrainConfig."""
    return "\n\n".join([SETTINGS, *(_setting(each) for each in fields(TrainConfig))]) + "\n"


def _setting(each: Any) -> str:
    kind, meaning = described(field_kinds(TrainConfig)[each.name])
    may_be = f"It may be {allowed(kind)}"
    default = "it has no default" if each.default is MISSING else f"its default is `{_toml(each.default)}`"
    if each.default_factory is not MISSING:
        default = "it is empty by default"
    option = f"--{each.name.replace('_', '-')}"
    given = f"The option is `{option}`." if each.name in ALL else "It is given in a file only."
    return f"## {each.name}\n\n{meaning}\n\n{may_be}; {default}. {given}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "[]" if value == () else f'"{value}"' if isinstance(value, str) else f"{value}"


def plugins() -> str:
    """Return the directory of the plugins that this repository has."""
    packages = sorted((ROOT / "plugins").glob("*/pyproject.toml"))
    return "\n\n".join([PLUGINS, *map(_plugin, packages)]) + "\n"


def _plugin(path: Path) -> str:
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    parts = list(_registered(path.parent, project["entry-points"]))
    name, weights = project["name"], sorted({each.source for _, info in parts for each in _weights(info)})
    licences = sorted({info.licence for _, info in parts if hasattr(info, "licence")})
    brings = ", ".join(f"{kind} `{getattr(info, 'name', '')}`" for kind, info in parts)
    lines = [
        f"- Install: `pip install ./plugins/{name}`",
        f"- Brings: {brings}",
        f"- Weights: {', '.join(f'`{source}`' for source in weights) or 'none to get'}",
        f"- Licence: {project['license']} (the package); {', '.join(licences) or 'see its page'} (what it loads)",
        f"- [{name}: what it computes, and how it was checked](plugins/{name}/README.md)",
    ]
    return f"## {name}\n\n{project['description']}.\n\n" + "\n".join(lines)


def _weights(info: Any) -> Iterator[Any]:
    yield from getattr(info, "weights", ())


def _registered(folder: Path, groups: dict[str, dict[str, str]]) -> Iterator[tuple[str, Any]]:
    """Yield what the modules of a package register, with the kind of each; descriptors load no model."""
    sys.path.append(str(folder))
    for name in dict.fromkeys(name for group in groups.values() for name in group.values()):
        module = import_module(name)
        for hook in HOOKS:
            found: list[Any] = []
            getattr(module, f"register_{hook}", lambda _: None)(found.append)
            yield from ((hook.removesuffix(SUFFIX).replace("_", " "), info) for info in found)


def renames() -> str:
    """Return the page of modules that have moved and of symbols that have another name."""
    modules = [f"{row} {'yes' if row.split('`')[1] in MOVED else 'no'} |" for row in _rows("moved_modules")]
    head = ["| former name | where it is now | former import works |", "|:--|:--|:--|"]
    return (
        "\n".join(
            [RENAMES, *head, *modules, SYMBOLS, "| former name | name now |", "|:--|:--|", *_rows("renamed_symbols")]
        )
        + "\n"
    )


def _rows(name: str) -> list[str]:
    """Return a row for each line of a list beside this script: a former name, and where it is now."""
    lines = Path(__file__).with_name(f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [f"| `{old}` | {' and '.join(f'`{home}`' for home in homes)} |" for old, *homes in map(str.split, lines)]


PAGES = {
    "reference/commands.md": commands,
    "reference/train-config.md": settings,
    "reference/plugins.md": plugins,
    "reference/renames.md": renames,
}
