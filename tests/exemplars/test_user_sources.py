"""Audio folders with captions, parquet shards, and datasets in the hub's cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name
from pyarrow import parquet
from support.sounds import write_tone

if TYPE_CHECKING:
    from support.cli import Dragon, Refused, Rows

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def items(dragon: Dragon, name: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(dragon("exemplars", "show", name, "--json").stdout)["items"]
    return listed


def write_shard(path: Path, folder: Path, rows_a_group: int = 2, **columns: list[Any]) -> Path:
    """A parquet file of three clips, as the `datasets` library writes audio."""
    clips = [write_tone(folder / f"{seed}.wav", 2, seed=seed) for seed in (21, 22, 23)]
    audio = [{"bytes": clip.read_bytes(), "path": clip.name} for clip in clips]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"audio": pa.array(audio, kind), **columns})
    parquet.write_table(table, path, row_group_size=rows_a_group)
    return path


def cached_dataset(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a dataset in a cache of the hub's client, which has no network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home))
    storage = home / repo_folder_name(repo_id=name, repo_type="dataset")
    (storage / "refs").mkdir(parents=True)
    (storage / "refs" / constants.DEFAULT_REVISION).write_text(COMMIT)
    (storage / "blobs").mkdir()
    snapshot = storage / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    return snapshot


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_audiofolder_keeps_its_captions(form: str, music: Path, rows: Rows, dragon: Dragon) -> None:
    if form == "csv":
        (music / "metadata.csv").write_text("file_name,text\na.wav,a slow air\ndeep/c.OGG,\n")
        (music / "deep" / "metadata.csv").write_text("file_name,caption\nd.mp3,a  fast\tjig\n")
    else:
        lines = [{"file_name": "a.wav", "caption": "a slow air"}, {"file_name": "deep/d.mp3", "text": "a fast jig"}]
        (music / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (added,) = rows("exemplars", "add", "mine", music)
    assert added["examples"] == 4
    captions = {Path(item["path"]).name: item["caption"] for item in items(dragon, "mine")}
    assert captions == {"a.wav": "a slow air", "b.flac": None, "c.OGG": None, "d.mp3": "a fast jig"}


def test_files_that_the_metadata_miss_are_bad(music: Path, rows: Rows, refused: Refused) -> None:
    (music / "metadata.csv").write_text("file_name,text\na.wav,air\ngone.wav,jig\n")
    refusal = refused("exemplars", "add", "mine", music)
    assert "metadata.csv', row 2: no file" in refusal
    assert rows("exemplars", "add", "mine", music, "--skip-bad")[0]["examples"] == 4


def test_a_parquet_shard_gives_the_rewards_of_its_files(tmp_path: Path, rows: Rows, dragon: Dragon) -> None:
    shard = write_shard(tmp_path / "data" / "train-0.parquet", tmp_path / "clips", caption=["x", " ", None])
    (added,) = rows("exemplars", "add", "shard", shard, "--encoder", "chroma")
    assert (added["examples"], added["windows"]) == (3, 3)
    assert [(item["row"], item["caption"]) for item in items(dragon, "shard")] == [(0, "x"), (1, None), (2, None)]
    rows("exemplars", "add", "files", tmp_path / "clips", "--encoder", "chroma")
    clips = tmp_path / "clips"
    assert rows("score", "per-song-fad:chroma@shard", clips)[0]["value"] == pytest.approx(
        rows("score", "per-song-fad:chroma@files", clips)[0]["value"], rel=1e-9
    )
    assert rows("exemplars", "check", "shard") == []
    shard.write_bytes(b"PAR1")
    assert dragon("exemplars", "check", "shard").stdout.count("missing") == 3


def test_a_parquet_file_of_captions_is_a_text_set(tmp_path: Path, rows: Rows, refused: Refused) -> None:
    parquet.write_table(pa.table({"text": ["a jig", "an air"]}), tmp_path / "words.parquet")
    assert rows("exemplars", "add", "words", tmp_path / "words.parquet")[0]["examples"] == 2
    parquet.write_table(pa.table({"title": ["a jig"]}), tmp_path / "other.parquet")
    assert "its columns: title" in refused("exemplars", "add", "more", tmp_path / "other.parquet")
    (tmp_path / "broken.parquet").write_text("no parquet")
    assert "cannot be read as parquet" in refused("exemplars", "add", "more", tmp_path / "broken.parquet")


def test_a_row_without_audio_is_bad(tmp_path: Path, refused: Refused) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"audio": pa.array([{"bytes": None, "path": "elsewhere.wav"}, None], kind)})
    parquet.write_table(table, tmp_path / "holes.parquet")
    refusal = refused("exemplars", "add", "mine", tmp_path / "holes.parquet")
    assert "holes.parquet, row 0' cannot be read" in refusal
    assert "holes.parquet, row 1' cannot be read" in refusal


def test_a_dataset_of_the_hub_is_found_in_its_cache(
    tmp_path: Path, rows: Rows, dragon: Dragon, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = cached_dataset(tmp_path / "hub", "someone/tunes", monkeypatch)
    blob = write_tone(tmp_path / "tone.wav", 2, seed=31).rename(snapshot.parents[1] / "blobs" / "0123")
    (snapshot / "train").mkdir()
    (snapshot / "train" / "a.wav").symlink_to(blob)
    (snapshot / "train" / "metadata.csv").write_text("file_name,text\na.wav,a slow air\n")
    write_shard(snapshot / "data" / "train-00000-of-00001.parquet", tmp_path / "clips")
    (added,) = rows("exemplars", "add", "tunes", "someone/tunes")
    assert added["examples"] == 4
    found = items(dragon, "tunes")
    assert [item["caption"] for item in found] == ["a slow air", None, None, None]
    shown = json.loads(dragon("exemplars", "show", "tunes", "--json").stdout)
    assert shown["provenance"] == "dataset someone/tunes of the Hugging Face hub"


def test_a_dataset_that_is_not_there_says_how_to_get_it(
    tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_dataset(tmp_path / "hub", "someone/tunes", monkeypatch)
    assert "hf download --repo-type dataset someone/other" in refused("exemplars", "add", "mine", "someone/other")
