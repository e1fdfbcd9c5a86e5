"""Two commands in one folder: the second is refused, and a killed one holds nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dragon_rewards.errors import ConfigError
from dragon_rewards.storage.locks import locked
from dragon_train.cli.app import app

HOLD = """
import sys
from pathlib import Path
from dragon_rewards.storage.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path / "out") as process:
        with pytest.raises(ConfigError, match="another process is at work"), locked(tmp_path / "out"):
            pass
        process.kill()
        process.wait()
    with locked(tmp_path / "out"):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("train", "--reward", "vendi:logmel"), ("bench", "--rewards", "vendi:clap"), ("ablate", "seeds")]
)
def test_every_verb_that_trains_holds_its_folder(command: tuple[str, ...], tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        refused = CliRunner().invoke(app, [*command, "--out", str(tmp_path)])
        process.kill()
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "another process is at work" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
