"""`dragon fit-aesthetics`: ratings become the reduction `aesthetics`, which is tied to its encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dragon_rewards.heads import head_path
from dragon_rewards.media.audio import write_audio
from dragon_rewards.registry import load_registry
from dragon_rewards.storage.tensor_files import read_tensors, write_tensors
from dragon_rewards.suites import load_suite, serve
from dragon_rewards.testing.sounds import sounds
from dragon_train.cli.app import app

COUNT = 20


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sounds of four kinds, of which chords are rated best; nothing is fitted yet."""
    rows = ["path,rating"]
    for number, sound in enumerate(sounds(COUNT, 16_000, 2)):
        write_audio(tmp_path / f"{number}.wav", sound[None], 16_000)
        rows.append(f"{number}.wav,{4 - number % 4}")
    (tmp_path / "ratings.csv").write_text("\n".join(rows), encoding="utf-8")
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.chdir(tmp_path)
    load_registry.cache_clear()
    yield
    load_registry.cache_clear()


def dragon(*arguments: str) -> Any:
    result = CliRunner().invoke(app, list(arguments))
    load_registry.cache_clear()  # each command is a process of its own
    return result


def test_ratings_become_a_reward() -> None:
    [note] = [each.note for each in serve(load_suite("dragon20"), load_registry()) if "aesthetics" in each.served]
    assert note == (
        "aesthetics-degradation:clap stands in for aesthetics:clap: reduction 'aesthetics' is not installed; "
        "`dragon fit-aesthetics` makes it of ratings"
    )
    load_registry.cache_clear()
    fitted = dragon("fit-aesthetics", "ratings.csv", "--json")
    assert fitted.exit_code == 0, fitted.output
    [row] = json.loads(fitted.stdout)
    assert (row["reward"], row["file"]) == ("aesthetics:clap", str(head_path()))
    assert "aesthetics:clap" in [each.served for each in serve(load_suite("dragon20"), load_registry())]
    scored = dragon("score", "aesthetics:clap", "0.wav", "2.wav", "--json")
    assert scored.exit_code == 0, scored.output
    chord, noise = (each["value"] for each in json.loads(scored.stdout))
    assert chord > noise + 1  # rated 4 and 2


def test_without_a_head_there_is_no_such_reward() -> None:
    refused = dragon("score", "aesthetics:clap", "0.wav")
    assert refused.exit_code == 2
    assert "unknown reduction 'aesthetics'" in refused.stderr


def test_the_head_is_tied_to_its_encoder() -> None:
    assert dragon("fit-aesthetics", "ratings.csv", "--encoder", "logmel").exit_code == 0
    assert dragon("score", "aesthetics:clap", "0.wav").exit_code == 2
    tensors, metadata = read_tensors(head_path(), "")
    write_tensors(head_path(), tensors, metadata | {"identity": "logmel-0"})
    load_registry.cache_clear()
    refused = dragon("score", "aesthetics:logmel", "0.wav")
    assert refused.exit_code == 2
    assert "was fitted for identity 'logmel-0' of encoder 'logmel'" in " ".join(refused.stderr.split())


def test_a_damaged_head_is_a_named_failure_and_nothing_else_fails() -> None:
    assert dragon("fit-aesthetics", "ratings.csv", "--encoder", "logmel").exit_code == 0
    head_path().write_bytes(head_path().read_bytes()[:-1])
    assert dragon("score", "vendi:logmel", "0.wav", "1.wav").exit_code == 0
    shown = dragon("plugins")
    assert shown.exit_code == 1
    assert "dragon_rewards.heads" in shown.stdout
    assert "make it again with `dragon fit-aesthetics`" in " ".join(shown.stdout.split())


def test_ratings_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("path,rating\n0.wav,3\n", encoding="utf-8")
    refused = dragon("fit-aesthetics", "few.csv")
    assert refused.exit_code == 2
    assert "rate at least 20 clips" in refused.stderr
    assert not head_path().exists()
