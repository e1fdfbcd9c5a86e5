"""Runs the fast lane with the lowest versions that pyproject.toml declares, and with the newest releases.

python tests/support/bounds.py [lowest-direct] [highest]      # both, where none is named

torch is in both the build that is installed here, as others take gigabytes; so what a lower one lacks is not found. uv
is told by its variables where that build comes from, UV_INDEX or UV_FIND_LINKS. The environments and the versions that
were resolved stay in build/bounds/.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "bounds"
RESOLUTIONS = ("lowest-direct", "highest")
OLD = (  # releases far apart use what others of them deprecate
    *("-W", "ignore::DeprecationWarning"),
    *("-W", "ignore::FutureWarning"),
)


def fixed() -> Path:
    """Write the constraint that holds torch, and return its path."""
    path = BUILD / "fixed.txt"
    path.write_text(f"torch=={version('torch')}\n", encoding="utf-8")
    return path


def uv(*arguments: str) -> None:
    """Run uv in the clone; raises CalledProcessError where it fails."""
    subprocess.run([sys.executable, "-m", "uv", *arguments], cwd=ROOT, check=True)


def install(resolution: str) -> Path:
    """Resolve the packages and what their tests need, install all of it afresh, and return the environment."""
    versions, environment = BUILD / f"{resolution}.txt", BUILD / resolution
    wanted = ["--resolution", resolution, "--extra", "test", "--constraint", str(fixed())]
    uv("pip", "compile", "--quiet", "--upgrade", *wanted, "--output-file", str(versions), "pyproject.toml")
    venv.create(environment, clear=True, with_pip=True)  # tests install packages by pip
    uv("pip", "install", "--quiet", "--python", str(environment), "--requirements", str(versions))
    uv("pip", "install", "--quiet", "--python", str(environment), "--no-deps", str(ROOT))
    return environment


def passes(resolution: str) -> bool:
    """Whether the fast lane passes with a resolution."""
    command = [str(install(resolution) / "bin" / "pytest"), "-n", "2", "-m", "not slow", *OLD]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main(resolutions: list[str]) -> int:
    """Try each resolution, say what became of it, and return the exit code."""
    BUILD.mkdir(parents=True, exist_ok=True)
    results = {each: passes(each) for each in resolutions or RESOLUTIONS}
    for resolution, passed in results.items():
        print(f"{resolution}: {'passed' if passed else 'failed'}, see {BUILD / resolution}.txt")  # noqa: T201
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
