"""Style, format and types of everything in the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECKED = ["dragon_rewards", "dragon_train", "tests", "reports", "docs"]
PLUGINS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("plugins/*/*.py"))
TOOLS = [
    pytest.param(["ruff", "check", "plugins"], id="check"),
    pytest.param(["ruff", "format", "--check", "plugins"], id="format"),
    pytest.param(["mypy", *PLUGINS], id="types", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("tool", TOOLS)
def test_the_repository_passes(tool: list[str]) -> None:
    command = [sys.executable, "-m", *tool, *CHECKED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
