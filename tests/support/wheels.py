"""Builds the distributions of the core and of every plugin, each from its own sdist.

PYTHONPATH=tests python -m support.wheels FOLDER
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

from support.environments import Environment
from support.installation import PACKAGES, copied, copied_core


def build_all(out: Path) -> None:
    """Write an sdist and a wheel of each into a folder, with the installed build backends."""
    with TemporaryDirectory() as copies:
        for source in (copied_core(Path(copies)), *(copied(package, Path(copies)) for package in PACKAGES)):
            build(source, out)


def build(source: Path, out: Path) -> None:
    """Write an sdist of a project, and a wheel of that sdist; raises AssertionError if one cannot be built."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def environment_without_us(folder: Path) -> Environment:
    """Make an environment that sees every installed package except those of this project."""
    venv.create(folder, symlinks=True)
    environment = Environment(folder)
    links = folder / "links"
    links.mkdir()
    installed = {
        entry.name: entry
        for place in reversed(sys.path)  # the first place wins
        if Path(place).name == "site-packages"
        for entry in Path(place).iterdir()
    }
    for name, entry in installed.items():
        if not name.startswith("dragon"):
            (links / name).symlink_to(entry)
    (environment.site_packages / "links.pth").write_text(f"{links}\n", encoding="utf-8")
    return environment


if __name__ == "__main__":
    build_all(Path(sys.argv[1]))
