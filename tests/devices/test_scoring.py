"""The verbs that judge files compute on the second device what they compute on the CPU, in as much memory as it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.cli import dragon
from support.devices.second_device import counted, limited_memory
from support.sounds import write_tone

from dragon_rewards import load_registry
from dragon_rewards.compute.devices import CPU
from dragon_rewards.exemplars.statistics import read_kept
from dragon_rewards.media import encodable
from dragon_rewards.media.encodable import BATCH
from dragon_rewards.protocols import AudioEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator


SECOND, ROOM = "second:0", 16 * 2**20  # bytes: two clips of 3 s pass through `vae` in them, and six do not
pytestmark = pytest.mark.usefixtures("second")


@pytest.fixture(name="songs")
def folder_of_songs(tmp_path: Path) -> Path:
    """Twelve files of two lengths, rates and formats, with prompts."""
    songs = tmp_path / "songs"
    names = [f"{seed:02d}.{'ogg' if seed % 3 else 'wav'}" for seed in range(12)]
    for seed, name in enumerate(names):
        write_tone(songs / name, 2.0 + seed % 2, 16_000 if seed % 4 else 22_050, seed=seed)
    table = [f"{name},a slow air" for name in names]
    (songs / "prompts.csv").write_text("path,prompt\n" + "\n".join(table) + "\n")
    return songs


@pytest.fixture(name="sets", autouse=True)
def own_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    load_registry.cache_clear()
    yield tmp_path / "sets"
    load_registry.cache_clear()


def rows(*arguments: object) -> list[dict[str, Any]]:
    result = dragon(*arguments, "--json")
    assert result.exit_code == 0, (result.stderr, result.exception)
    printed: list[dict[str, Any]] = json.loads(result.stdout)
    return printed


def assert_alike(found: list[dict[str, Any]], expected: list[dict[str, Any]], keys: tuple[str, ...]) -> None:
    assert [row.keys() for row in found] == [row.keys() for row in expected]
    for mine, theirs in zip(found, expected, strict=True):
        for key, value in theirs.items():
            near = key in keys and value is not None
            assert mine[key] == (pytest.approx(value, rel=1e-4, abs=1e-6) if near else value), key


@pytest.mark.parametrize("reward", ["per-song-fad:logmel@airs", "clap-score:clap", "dataset-fad:vae@airs"])
def test_scores_are_those_of_the_cpu(songs: Path, reward: str) -> None:
    with counted() as counts:
        found = rows("score", reward, songs, "--device", SECOND)
    assert counts.launches > 0
    assert_alike(found, rows("score", reward, songs, "--device", "cpu"), ("value",))


@pytest.mark.parametrize("reward", ["per-song-fad:logmel@airs", "vendi:clap"])
def test_ranks_are_those_of_the_cpu(songs: Path, reward: str) -> None:
    found = rows("rank", songs, "--reward", reward, "--device", SECOND)
    assert_alike(found, rows("rank", songs, "--reward", reward, "--device", "cpu"), ("value",))


def test_comparisons_are_those_of_the_cpu(songs: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for seed in range(12):
        write_tone(other / f"{seed:02d}.wav", 2.5, seed=100 + seed)
    options = [f"--rewards={reward}" for reward in ("per-song-fad:logmel@airs", "vendi:clap")]
    found = rows("compare", songs, other, *options, "--device", SECOND)
    expected = rows("compare", songs, other, *options, "--device", "cpu")
    assert_alike(found, expected, ("a", "b", "effect", "controlled"))


def test_statistics_are_those_of_the_cpu(songs: Path, sets: Path) -> None:
    for name, device in (("here", "cpu"), ("there", SECOND)):
        dragon("exemplars", "add", name, songs, "--encoder", "clap", "--device", device)
    here, there = (read_kept(sets / name / "clap.safetensors").gaussian for name in ("here", "there"))
    assert here.count == there.count
    assert there.mean.device == CPU
    torch.testing.assert_close(there.mean, here.mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(there.covariance, here.covariance, rtol=1e-4, atol=1e-6)


def test_facets_are_those_of_the_cpu(songs: Path) -> None:
    rows("exemplars", "add", "mine", songs)
    there, here = (
        rows("exemplars", "facets", "mine", "--encoder", "clap", "--count", 2, "--device", device)
        for device in (SECOND, "cpu")
    )
    assert_alike(there, here, ("share", "spread"))


def test_statistics_that_scoring_needs_are_made_on_its_device(songs: Path) -> None:
    rows("exemplars", "add", "mine", songs)
    load_registry.cache_clear()  # as in another process, which finds the set
    result = dragon("score", "per-song-fad:logmel@mine", songs, "--device", SECOND, "--json")
    assert "encoding 12 files" in result.stderr
    found = json.loads(result.stdout)
    assert_alike(found, rows("score", "per-song-fad:logmel@mine", songs, "--device", "cpu"), ("value",))


def test_where_memory_runs_out_batches_are_halved(songs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodable, "first_batch", lambda *_: BATCH)  # as if the guess had been wrong
    reward, second = "per-song-fad:vae@airs", torch.device(SECOND)
    alone = rows("score", reward, songs, "--device", SECOND)  # builds the encoder, which stays there
    encoder = load_registry().build_encoder("vae", second)
    assert isinstance(encoder, AudioEncoder)
    with limited_memory(ROOM):
        with pytest.raises(torch.OutOfMemoryError), torch.no_grad():
            encoder.encode_audio(torch.zeros(6, 48_000, device=second))
        found = rows("score", reward, songs, "--device", SECOND)
    assert_alike(found, alone, ("value",))


def test_a_clip_too_large_alone_is_named_and_the_others_are_kept(
    songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAGON_CACHE", str(tmp_path / "cache"))
    reward = "per-song-fad:vae@airs"
    write_tone(songs / "z-long.wav", 60.0, seed=50)
    dragon("score", reward, songs / "00.wav", "--device", SECOND)
    kept = len(list((tmp_path / "cache").rglob("*.safetensors")))
    with limited_memory(ROOM):
        result = dragon("score", reward, songs, "--device", SECOND)
    assert (result.exit_code, result.stdout) == (2, "")
    said = " ".join(result.stderr.split())
    assert (
        "z-long.wav' (60 s) does not fit into the memory of second:0, not even alone, where encoder 'vae' encodes it"
        in said
    )
    assert "--device cpu" in said
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == kept + 11
