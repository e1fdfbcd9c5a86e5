"""The fenced blocks of pages: those that are run, and those that are the content of a file.

Shell and Python blocks are run in the order of the page, unless the line above says `<!-- not run: WHY -->`; a block
below `<!-- file: PATH -->` is the content of that file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
FENCED = re.compile(
    r"(?:<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the HTML comment above it."""

    language: str
    text: str
    mark: str

    @property
    def file(self) -> str | None:
        """The path of the file whose content it is."""
        return self.mark.removeprefix("file: ") if self.mark.startswith("file: ") else None

    @property
    def is_run(self) -> bool:
        """Whether the tests run it."""
        return self.language in {"sh", "python"} and not self.mark.startswith(("not run: ", "file: "))

    def follow(self, folder: Path) -> None:
        """Do in a folder what the page says: write the file, or run the commands."""
        if self.file:
            path = folder / self.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text, encoding="utf-8")
        elif self.is_run:
            run(self, folder)


def blocks(page: str) -> list[Block]:
    """All fenced blocks, in order."""
    return [Block(found["language"], found["text"], found["mark"] or "") for found in FENCED.finditer(page)]


def environment(site: Path) -> dict[str, str]:
    """This environment's commands, plugins beside it: `pip install` puts them into `site`, from no index."""
    return os.environ | {
        "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")])),
        "PIP_TARGET": str(site),
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as "without isolation"
    }


def run(block: Block, folder: Path) -> None:
    """Run a block in a folder; a failure shows what it printed."""
    shell = ["bash", "-euo", "pipefail", "-c", block.text]
    command = shell if block.language == "sh" else [sys.executable, "-c", block.text]
    done = subprocess.run(
        command, cwd=folder, env=environment(folder / "site"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
