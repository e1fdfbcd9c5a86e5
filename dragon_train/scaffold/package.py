"""Write the package of a new plugin from its templates."""

from __future__ import annotations

from importlib import metadata
from importlib.resources import files
from pathlib import Path
from runpy import run_path
from string import Template
from typing import TYPE_CHECKING

from dragon_rewards.storage.files import making
from dragon_train.scaffold.checks import check_new
from dragon_train.scaffold.kinds import FACTS, Kind, Names

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIX = ".template"  # of a template's file: without it, it would be taken for a module of this project
COMMON = "common"  # the folder of what all kinds have


def write_package(names: Names, parent: Path) -> Path:
    """Write the package into a folder of its name below `parent`, whole or not at all, and return that folder.

    Raises:
        DragonError: a name cannot be used, or the folder exists.
        OSError: it cannot be written.
    """
    folder = parent / names.package
    check_new(names, folder)
    with making(folder) as temporary:
        for place, text in rendered(names):
            (temporary / place).parent.mkdir(parents=True, exist_ok=True)
            (temporary / place).write_text(text, encoding="utf-8")
        if names.kind is Kind.EXEMPLAR_SET:
            run_path(str(temporary / "make_set.py"), run_name="make_set")["of_captions"]()
    return folder


def rendered(names: Names) -> Iterator[tuple[Path, str]]:
    """Yield the files of the package, as path below its folder and text.

    A path in the templates says `module` for the name of the package's module, and `dot-` for a leading dot.
    """
    values = _values(names)
    for folder in (_templates() / COMMON, _templates() / names.kind):
        for path in sorted(folder.rglob(f"*{SUFFIX}")):
            place = str(path.relative_to(folder)).removesuffix(SUFFIX).replace("dot-", ".")
            text = path.read_text(encoding="utf-8")
            yield Path(place.replace("module/", f"{names.module}/")), Template(text).substitute(values)


def _templates() -> Path:
    return Path(str(files("dragon_train"))) / "scaffold" / "templates"


def _values(names: Names) -> dict[str, str]:
    facts = FACTS[names.kind]
    points = [f'[project.entry-points.{group}]\n{names.name} = "{names.module}"\n' for group in facts.groups]
    return {
        "name": names.name,
        "package": names.package,
        "module": names.module,
        "identifier": names.name.replace("-", "_"),
        "summary": facts.summary,
        "version": metadata.version("dragon-rewards"),
        "entry_points": "\n".join(points),
    }
