"""Completion as a real bash asks for it: names of what is installed, whole at its breaks, at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dragon_train.bench.ablation.grid import shipped_grids
from dragon_train.cli.bash import VARIABLE, bash_words, joined

if TYPE_CHECKING:
    from pathlib import Path

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
PROGRAM = """
import sys
sys.argv[0] = "dragon"
from dragon_train.cli import main
try:
    main()
finally:
    assert "torch" not in sys.modules
"""
ASK = """
source "$1"; shift
while [ $# -gt 0 ]; do
    COMP_WORDS=($1); COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
    [[ "$1" == *" " ]] && { COMP_WORDS+=(""); COMP_CWORD=$(( COMP_CWORD + 1 )); }
    COMPREPLY=(); _dragon_completion dragon; echo "${COMPREPLY[*]}"; shift
done
"""
LINES = {  # bash breaks words at : and @ itself; here they stand apart, as it hands them over
    "dragon score vendi : c": "clap chroma",
    "dragon score dataset-fad : clap @ a": "airs airs-captions",
    "dragon rank clips --reward clap-s": "clap-score:clap",
    "dragon train --pipeline emb": "embedded",
    "dragon train --objective ": "dpo kto raft direct nft order dno grpo prdp",
    "dragon train --tuning l": "lora",
    "dragon bench --preset ": "ablation dpo quick full",
    "dragon bench --suite ": "dragon20 robust",
    "dragon ablate sel": "selection",
    "dragon exemplars facets mine --encoder chr": "chroma",
    "dragon exemplars show m": "mine",
    "dragon fit-ratings mine.csv --encoder chr": "chroma",
    "dragon fit-preferences mine.csv --encoder chr": "chroma",
    "dragon rate-next clips --reward aesthetics-deg": "aesthetics-degradation:clap",
    "dragon estimate --card rtx": "rtx-4090",
}


@needs_bash
def test_bash_completes_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    (tmp_path / "wanted.txt").write_text("a slow hymn\n")
    program = tmp_path / "dragon"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{PROGRAM}' \"$@\"\n")
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    def dragon(*arguments: str, **more: str) -> str:
        command = [str(program), *arguments]
        done = subprocess.run(command, env=environment | more, capture_output=True, text=True, check=False)
        return done.stdout

    subprocess.run(
        [sys.executable, "-m", "dragon_train.cli", "exemplars", "add", "mine", str(tmp_path / "wanted.txt")], check=True
    )
    (tmp_path / "complete.sh").write_text(dragon(**{VARIABLE: "source_bash"}))
    command = ["bash", "-c", ASK, "bash", str(tmp_path / "complete.sh"), *LINES]
    asked = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = dict(zip(LINES, asked.stdout.splitlines(), strict=True))
    assert {line: set(names.split()) for line, names in found.items()} == {
        line: set(names.split()) for line, names in LINES.items()
    }


def test_words_that_bash_broke_are_put_together_at_any_place() -> None:
    assert joined(["dragon", "score", "vendi", ":", "clap", "so"], 5) == (["dragon", "score", "vendi:clap", "so"], 3)
    assert joined(["dragon", "score", "vendi", ":"], 3) == (["dragon", "score", "vendi:"], 2)
    assert joined(["dragon", "score"], 2) == (["dragon", "score"], 2)


def test_other_shells_get_what_they_ask_for(capsys: pytest.CaptureFixture[str]) -> None:
    with bash_words({VARIABLE: "complete_zsh"}):
        print("vendi:clap")  # noqa: T201
    assert capsys.readouterr().out == "vendi:clap\n"


def test_every_shipped_ablation_has_a_name() -> None:
    assert {"selection", "seeds"} <= set(shipped_grids())
