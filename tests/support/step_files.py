"""Lists the files of the project that a step of training executes, with the functions of each.

python tests/support/step_files.py

It is the second step of a run with default settings toward a reward of whole sets, so that what is built on first use
is built. Import hooks are left out: other libraries look for packages while a step runs.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from unittest.mock import patch

import dragon_train
from dragon_train.config import TrainConfig
from dragon_train.loop.loop import Training
from dragon_train.session import run_training

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

ROOT = Path(dragon_train.__file__).parents[1]  # the clone, or where packages are installed
PACKAGES = tuple(str(ROOT / package) for package in ("dragon_rewards", "dragon_train"))
CONFIG = TrainConfig("dataset-fad:clap@airs", steps=2, prompts_per_step=2, demonstration_steps=2, epochs=1)


def executed_files(out: Path) -> Mapping[str, set[str]]:
    """Train in a folder; return the functions that the second step calls, by the path of their file from the root."""
    found = defaultdict[str, set[str]](set)
    plain = Training.step

    def note(frame: FrameType, event: str, _: object) -> None:
        code, caller = frame.f_code, frame.f_back
        imports = caller is not None and caller.f_code.co_filename.startswith("<frozen importlib")
        if event == "call" and code.co_filename.startswith(PACKAGES) and not imports:
            path = Path(code.co_filename).relative_to(ROOT).as_posix()
            found[path].add(code.co_qualname.partition(".<locals>")[0])

    def step(training: Training, number: int) -> dict[str, float]:
        earlier = sys.getprofile()
        sys.setprofile(note if number else earlier)
        try:
            return plain(training, number)
        finally:
            sys.setprofile(earlier)

    with patch.object(Training, "step", step):
        run_training(CONFIG, None, out, "cpu")
    return found


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        files = executed_files(Path(folder) / "run")
    for path, functions in sorted(files.items()):
        print(path, *sorted(functions), sep="\n    ")  # noqa: T201
    print(f"{len(files)} files")  # noqa: T201
