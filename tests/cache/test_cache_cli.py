"""`dragon score` with a cache, and `dragon cache`, as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from dragon_rewards.compute.devices import CPU
from dragon_rewards.media.audio import write_audio
from dragon_rewards.media.cache import CacheKey, EmbeddingCache
from dragon_rewards.rewards import compose
from dragon_rewards.scoring import score_files
from dragon_train.cli.app import app
from dragon_train.cli.verbs import listing, score

VERBS = (listing, score)  # their imports add them to the app, which takes no lone verb's name
REWARDS = ("per-song-fad:clap@airs", "dataset-fad:logmel@airs", "vendi:chroma")
HEAVY = {"torch", "numpy", "scipy", "pandas", "safetensors.torch", "transformers", "soundfile", "soxr"}
RUN = f"""
import sys
from dragon_train.cli import main
try:
    main()
finally:
    if sys.argv[1] == "cache":
        imported = {HEAVY!r} & set(sys.modules)
        assert not imported, imported
"""


@pytest.fixture(name="songs")
def folder_of_songs(tmp_path: Path) -> Path:
    """Five files of different formats, rates and lengths."""
    songs = tmp_path / "songs"
    songs.mkdir()
    generator = torch.Generator().manual_seed(0)
    for index, suffix in enumerate(["wav", "mp3", "flac", "wav", "ogg"]):
        rate = 44_100 if index == 3 else 16_000
        write_audio(songs / f"{index}.{suffix}", 0.1 * torch.randn((2 + index % 2) * rate, generator=generator), rate)
    return songs


def dragon(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def output(*arguments: object, **environment: str) -> str:
    done = dragon(*arguments, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def values(reward: str, songs: Path, cache: EmbeddingCache | None) -> list[float]:
    rows = score_files(compose(reward), [songs], None, lambda *_: None, cache, CPU)
    return [row["value"] for row in rows]


@pytest.mark.parametrize("reward", REWARDS)
def test_scores_are_the_same_bits_with_a_cold_a_warm_and_no_cache(
    reward: str, songs: Path, cache: EmbeddingCache
) -> None:
    cold, warm, none = (values(reward, songs, kept) for kept in (cache, cache, None))
    assert len(cache.entries()) == 5
    assert cold == warm == none


@pytest.mark.slow
def test_score_fills_the_cache_and_info_and_clear_speak_of_it(songs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    own = {"DRAGON_CACHE": str(folder), "DRAGON_CACHE_LIMIT": "0.5"}
    assert f"{folder}: 0 entries, 0 B of 512 MiB" in output("cache", "info", **own)
    assert not folder.exists()
    scored = json.loads(output("score", REWARDS[0], songs, "--json", **own))
    other = CacheKey("ear", "ear-1", 8000, 4, "dragon-tests", "1.0")
    EmbeddingCache(folder, 2**20).store({"0" * 64: torch.zeros(2, 4)}, other)
    info: dict[str, Any] = json.loads(output("cache", "info", "--json", **own))
    sizes = {row["encoder"]: (row["entries"], row["bytes"]) for row in info["encoders"]}
    files = list(folder.glob("*/*.safetensors"))
    assert sizes.keys() == {"clap", "ear"}
    assert (sizes["clap"][0], sizes["ear"][0]) == (5, 1)
    assert (info["folder"], info["entries"], info["limit"]) == (str(folder), 6, 2**29)
    assert info["bytes"] == sum(size for _, size in sizes.values()) == sum(path.stat().st_size for path in files)
    table = [line.split() for line in output("cache", "info", **own).splitlines()]
    assert ["clap", "5"] in [words[:2] for words in table]
    assert json.loads(output("score", REWARDS[0], songs, "--json", **own)) == scored
    assert "removed 1 entry" in output("cache", "clear", "--encoder", "ear", **own)
    assert "removed 0 entries, 0 B" in output("cache", "clear", "--encoder", "ear", **own)
    assert "removed 5 entries" in output("cache", "clear", **own)
    assert list(folder.glob("*/*")) == []


@pytest.mark.slow
def test_what_is_refused(songs: Path, tmp_path: Path) -> None:
    done = dragon("score", REWARDS[0], songs, DRAGON_CACHE=str(tmp_path / "kept"), DRAGON_CACHE_LIMIT="5GB")
    assert (done.returncode, done.stdout) == (2, "")
    assert "DRAGON_CACHE_LIMIT='5GB' is no positive number of GiB" in done.stderr
    for verb in ("info", "clear"):
        done = dragon("cache", verb, DRAGON_CACHE="off")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "dragon: DRAGON_CACHE=off: there is no cache; unset it, or set it to a folder\n"


@pytest.mark.slow
def test_a_folder_that_takes_nothing_is_said_once_and_does_not_stop_scoring(songs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = dragon("score", REWARDS[0], songs, "--json", DRAGON_CACHE=str(tmp_path / "file" / "kept"))
    assert done.returncode == 0
    assert [row["value"] for row in json.loads(done.stdout)] == values(REWARDS[0], songs, None)
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"embeddings are no longer kept in '{tmp_path / 'file' / 'kept'}'")


def test_off_writes_nothing(songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    for switch, kept in (("off", False), ("", True)):
        monkeypatch.setenv("DRAGON_CACHE", switch)
        assert CliRunner().invoke(app, ["score", REWARDS[2], str(songs)]).exit_code == 0
        assert (tmp_path / "xdg" / "dragon-rewards" / "embeddings").is_dir() == kept
