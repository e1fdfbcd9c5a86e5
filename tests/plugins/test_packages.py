"""Every package under `plugins/` installs, and its own tests pass where it is installed."""

from __future__ import annotations

import re
import shutil
import tomllib
import venv
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from isolation.environments import Environment
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(folder for folder in (ROOT / "plugins").iterdir() if folder.is_dir())
CONSTRAINTS = "constraints.txt"  # a package that has its own does not fit the environment of the others
CORE = ("dragon_rewards", "dragon_train", "exemplar_sets", "pyproject.toml", "README.md", "LICENSE")
LEFTOVERS = shutil.ignore_patterns("__pycache__", "build", "*.egg-info", ".*_cache")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Removed at once: a full environment takes 2 GB."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_its_own_tests_pass(package: Path, folder: Path) -> None:
    environment = separate(package, folder) if (package / CONSTRAINTS).is_file() else shared(package, folder)
    done = environment.run(
        "-m", "pytest", "-o", "addopts=", "-p", "no:cacheprovider", "-q", "-rs", str(package / "tests")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^[1-9]\d* passed\b", done.stdout, re.MULTILINE), done.stdout


def shared(package: Path, folder: Path) -> Environment:
    """An environment that sees this one's packages, and has what the package requires beyond them."""
    environment = Environment.create(folder / "environment")
    further = [str(requirement) for requirement in requirements(package) if not installed(requirement)]
    if further:
        pip(environment, "-c", str(ROOT / CONSTRAINTS), *further)
    pip(environment, "--no-deps", "--no-build-isolation", str(copied(package, folder)))
    return environment


def separate(package: Path, folder: Path) -> Environment:
    """An environment with nothing but the package, the core, `dragon serve` and the versions of the package's own."""
    environment = Environment(folder / "environment")
    venv.create(environment.folder, with_pip=True, symlinks=True)
    core = folder / "core"
    core.mkdir()
    for source in (ROOT / name for name in CORE):
        (shutil.copytree if source.is_dir() else shutil.copy)(source, core / source.name)
    pip(environment, "-c", str(package / CONSTRAINTS), f"{core}[serve]", f"{copied(package, folder)}[test]")
    return environment


def requirements(package: Path) -> list[Requirement]:
    """What the package, and its tests, require."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["test"]]


def installed(requirement: Requirement) -> bool:
    """Whether this environment has it."""
    try:
        return requirement.specifier.contains(metadata.version(requirement.name))
    except metadata.PackageNotFoundError:
        return False


def copied(package: Path, folder: Path) -> Path:
    """A copy to build, because building leaves files behind; its tests are run in the repository."""
    return Path(shutil.copytree(package, folder / package.name, ignore=LEFTOVERS))


def pip(environment: Environment, *arguments: str) -> None:
    """Install; compiling all that is never imported would take half of the time."""
    done = environment.run("-m", "pip", "install", "--quiet", "--no-compile", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
