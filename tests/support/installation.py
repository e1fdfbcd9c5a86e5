"""How packages under `plugins/` are installed, and their own tests run where they are."""

from __future__ import annotations

import re
import shutil
import tomllib
import venv
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from support.environments import Environment

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "tests"  # where `devices.everywhere` is found
CONSTRAINTS = "constraints.txt"  # a package that has its own does not fit the environment of the others
NO_DEPS = "tests/no-deps.txt"  # what a package's tests compare with, whose own requirements are left out
PACKAGES = sorted(folder for folder in (ROOT / "plugins").iterdir() if folder.is_dir())
SEPARATE = [package for package in PACKAGES if (package / CONSTRAINTS).is_file()]
SHARED = [package for package in PACKAGES if package not in SEPARATE]
CORE = ("dragon_rewards", "dragon_train", "exemplar_sets", "pyproject.toml", "README.md", "LICENSE")
LEFTOVERS = shutil.ignore_patterns("__pycache__", "build", "*.egg-info", ".*_cache")


def run_tests(environment: Environment, package: Path, *plugins: str) -> None:
    """Raises AssertionError unless the package's tests pass, all of them, beside plugins of pytest: none is skipped."""
    options = ["-o", "addopts=", "-p", "no:cacheprovider", "-q", "-rs", *(f"-p{plugin}" for plugin in plugins)]
    done = environment.run("-m", "pytest", *options, str(package / "tests"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^[1-9]\d* passed in ", done.stdout, re.MULTILINE), done.stdout


def shared(packages: Iterable[Path], folder: Path) -> Environment:
    """An environment that sees this one's packages, and has the given ones and what they require beyond."""
    environment = Environment.create(folder / "environment")
    wanted = [requirement for package in packages for requirement in requirements(package)]
    further = [str(requirement) for requirement in wanted if not installed(requirement)]
    pip(environment, "-c", str(ROOT / CONSTRAINTS), *further)
    compared = [f"--requirement={package / NO_DEPS}" for package in packages if (package / NO_DEPS).is_file()]
    copies = [str(copied(package, folder)) for package in packages]
    pip(environment, "--no-deps", "--no-build-isolation", *copies, *compared)
    (environment.site_packages / "support.pth").write_text(f"{SUPPORT}\n", encoding="utf-8")
    return environment


def separate(package: Path, folder: Path) -> Environment:
    """An environment with nothing but the package, the core, `dragon serve` and the versions of the package's own."""
    environment = Environment(folder / "environment")
    venv.create(environment.folder, with_pip=True, symlinks=True)
    core = f"{copied_core(folder)}[serve]"
    pip(environment, "-c", str(package / CONSTRAINTS), core, f"{copied(package, folder)}[test]")
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


def copied_core(folder: Path) -> Path:
    """Copy what the core is built of, and nothing that lies beside it."""
    core = folder / "core"
    core.mkdir()
    for source in (ROOT / name for name in CORE):
        if source.is_dir():
            shutil.copytree(source, core / source.name, ignore=LEFTOVERS)
        else:
            shutil.copy(source, core / source.name)
    return core


def copied(package: Path, folder: Path) -> Path:
    """A copy to build, because building leaves files behind; its tests are run in the repository."""
    return Path(shutil.copytree(package, folder / package.name, ignore=LEFTOVERS))


def pip(environment: Environment, *arguments: str) -> None:
    """Install; compiling all that is never imported would take half of the time."""
    done = environment.run("-m", "pip", "install", "--quiet", "--no-compile", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
