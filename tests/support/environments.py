"""Environments of their own, which see this one's packages, and packages that pip installs into them."""

from __future__ import annotations

import subprocess
import sysconfig
import venv
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

VERSION = "1.2"
PYPROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "{version}"

[project.entry-points.{group}]
{entry}

[tool.setuptools]
py-modules = ["{module}"]
"""


@dataclass(frozen=True)
class Package:
    """A package of one module; `target` is what its entry point names, by default the module itself."""

    name: str
    source: str
    target: str = ""
    group: str = "dragon_rewards"

    @property
    def plugin(self) -> str:
        """The entry point's name."""
        return self.name.removeprefix("dragon-reward-")

    @property
    def module(self) -> str:
        """The name of its only module."""
        return self.name.replace("-", "_")

    def write(self, parent: Path) -> Path:
        """The folder that pip installs."""
        folder = parent / self.name
        folder.mkdir()
        entry = f'{self.plugin} = "{self.target or self.module}"'
        settings = PYPROJECT.format(
            name=self.name, version=VERSION, group=self.group, entry=entry, module=self.module
        ).lstrip()
        (folder / "pyproject.toml").write_text(settings, encoding="utf-8")
        (folder / f"{self.module}.py").write_text(self.source, encoding="utf-8")
        return folder


@dataclass(frozen=True)
class Environment:
    """A virtual environment that sees the packages of the one that runs the tests."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Environment:
        """Without packages of its own; an editable install needs `addsitedir`, which reads .pth files."""
        venv.create(folder, symlinks=True)
        environment = cls(folder)
        line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
        (environment.site_packages / "outer.pth").write_text(line, encoding="utf-8")
        return environment

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / "bin" / "python")

    @property
    def site_packages(self) -> Path:
        """Where pip installs."""
        return next(self.folder.glob("lib/python*/site-packages"))

    def install(self, packages: Iterable[Package], sources: Path) -> None:
        """Install all in one call of pip, from no index."""
        sources.mkdir()
        folders = [str(package.write(sources)) for package in packages]
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
        done = self.run("-m", "pip", "install", *options, *folders)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run its interpreter."""
        return subprocess.run([self.python, *arguments], capture_output=True, text=True, check=False)

    def dragon(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `dragon`."""
        return self.run("-m", "dragon_train.cli", *arguments)
