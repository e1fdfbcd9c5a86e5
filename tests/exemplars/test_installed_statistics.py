"""`dragon exemplars statistics`: an installed set of audio serves a further encoder, made of the set's audio alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import dragon_rewards.builtin
from dragon_rewards import Clips, ExemplarSetInfo, Modality, load_registry
from dragon_rewards.exemplars import Statistics, write_exemplar_set
from dragon_rewards.exemplars.places import made_statistics
from dragon_rewards.media.audio import write_audio
from dragon_rewards.metrics import Gaussian
from dragon_rewards.suites import Slot, Suite, serve
from dragon_rewards.testing.sounds import sounds
from dragon_train.cli.app import app

RATE, COUNT = 16_000, 6


def write_set(folder: Path, audio: torch.Tensor) -> None:
    """An installed set of the name `tunes`, with statistics for `chroma`."""
    info, encoder = load_registry().encoder("chroma"), load_registry().build_encoder("chroma")
    frames = torch.cat(list(Clips(list(audio), RATE).embeddings(info, encoder).frames))
    about = ExemplarSetInfo("tunes", Modality.AUDIO, len(audio), "CC0-1.0", "sounds", folder / "tunes")
    write_exemplar_set(about, "made by a test", [], {"chroma": Statistics(Gaussian.fit(frames), encoder.identity)})


def write_sounds(folder: Path, audio: torch.Tensor) -> None:
    for number, sound in enumerate(audio):
        write_audio(folder / f"{number}.wav", sound[None], RATE)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The set is the only one that ships; its audio is in `audio`, other audio in `other`."""
    write_set(tmp_path / "shipped", sounds(COUNT, RATE, 3))
    write_sounds(tmp_path / "audio", sounds(COUNT, RATE, 3))
    write_sounds(tmp_path / "other", sounds(COUNT, RATE, 3, seed=5))
    monkeypatch.setattr(dragon_rewards.builtin, "shipped_sets", lambda: tmp_path / "shipped")
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    monkeypatch.chdir(tmp_path)
    load_registry.cache_clear()
    yield
    load_registry.cache_clear()


def dragon(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_the_set_serves_the_encoder_from_then_on() -> None:
    suite = Suite("s", "", (Slot("per-song-fad:logmel@tunes", "per-song-fad:chroma@tunes"),))
    [before] = serve(suite, load_registry())
    assert before.note == (
        "per-song-fad:chroma@tunes stands in for per-song-fad:logmel@tunes: exemplar set 'tunes' has no statistics for "
        "encoder 'logmel'; `dragon exemplars statistics` makes them of its audio"
    )
    made = dragon("exemplars", "statistics", "tunes", "audio", "--encoder", "logmel", "--json")
    assert made.exit_code == 0, made.output
    [row] = json.loads(made.stdout)
    assert row["identity"] == load_registry().build_encoder("logmel").identity
    [after] = serve(suite, load_registry())
    assert (after.served, after.note) == ("per-song-fad:logmel@tunes", "")
    scored = dragon("score", "dataset-fad:logmel@tunes", "audio", "--json")
    assert scored.exit_code == 0, scored.output
    assert json.loads(scored.stdout)[0]["value"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ("tunes", "other", "--encoder", "logmel"),
            "this is not the audio of exemplar set 'tunes': by encoder",
        ),
        (
            ("tunes", "audio/0.wav", "--encoder", "logmel"),
            "'tunes' has 6 examples, not 1 file",
        ),
        (("mine", "audio", "--encoder", "logmel"), "exemplar set 'mine' is one of yours"),
        (("words", "audio", "--encoder", "logmel"), "exemplar set 'words' is text"),
        (("gone", "audio", "--encoder", "logmel"), "unknown exemplar set 'gone'"),
        (("tunes", "audio", "--encoder", "gone"), "unknown encoder 'gone'"),
    ],
)
def test_what_is_not_the_sets_audio_is_refused(arguments: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a slow hymn\na jig\n", encoding="utf-8")
    for own, place in (("mine", "audio"), ("words", "words.txt")):
        assert dragon("exemplars", "add", own, place).exit_code == 0
    load_registry.cache_clear()
    refused = dragon("exemplars", "statistics", *arguments)
    assert refused.exit_code == 2
    assert reason in " ".join(refused.stderr.split())
    path = made_statistics("tunes", "logmel")
    assert path
    assert not path.exists()


def test_statistics_of_another_version_of_the_set_are_refused(tmp_path: Path) -> None:
    assert dragon("exemplars", "statistics", "tunes", "audio", "--encoder", "logmel").exit_code == 0
    write_set(tmp_path / "shipped", sounds(COUNT - 1, RATE, 3))
    load_registry.cache_clear()
    scored = dragon("score", "dataset-fad:logmel@tunes", "audio")
    assert scored.exit_code == 2
    assert "was made of another version of exemplar set 'tunes'; make it again" in " ".join(scored.stderr.split())
