"""The prompts of audio files: in tables that name them, in tables and texts beside them; what differs is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from dragon_rewards.errors import MissingColumnError, MissingPromptsError, TableError
from dragon_rewards.exemplars.sources import gather
from dragon_rewards.media.prompts import SIDECARS, prompt_sources, prompts_of

NAMES = ["a.wav", "b.flac", "deep/c.ogg"]


@pytest.fixture(name="songs")
def folder_of_songs(tmp_path: Path) -> Path:
    """Files that are not read here."""
    for name in NAMES:
        path = tmp_path / "songs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "songs"


def files(songs: Path) -> list[Path]:
    return [songs / name for name in NAMES]


def captions(songs: Path) -> dict[str, str | None]:
    return {source.path.name: source.caption for source in gather([str(songs)]).audio}


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.json", "t.jsonl", "t.parquet"])
def test_a_table_of_any_format_names_files_relative_to_itself(name: str, songs: Path, tmp_path: Path) -> None:
    rows = [{"file_name": f"songs/{song}", "caption": f"song {song}"} for song in NAMES[:2]]
    rows.append({"file_name": str(songs / NAMES[2]), "caption": f"song {NAMES[2]}"})
    texts = {
        "t.csv": "file_name;caption\n" + "".join(f"{row['file_name']};{row['caption']}\n" for row in rows),
        "t.tsv": "file_name\tcaption\n" + "".join(f"{row['file_name']}\t{row['caption']}\n" for row in rows),
        "t.json": json.dumps(rows),
        "t.jsonl": "\n".join(map(json.dumps, rows)),
    }
    if name in texts:
        (tmp_path / name).write_text(texts[name], encoding="utf-8")
    else:
        parquet.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    assert prompts_of(files(songs), tmp_path / name) == [f"song {song}" for song in NAMES]


@pytest.mark.parametrize("name", ["prompts.csv", "metadata.csv", "metadata.jsonl", "metadata.parquet"])
def test_tables_beside_the_files_count_for_those_below(name: str, songs: Path) -> None:
    rows = [{"file_name": song, "text": f"song {song}", "seed": seed} for seed, song in enumerate(NAMES)]
    if name.endswith("csv"):
        lines = [f"{row['file_name']},{row['text']},{row['seed']}" for row in rows]
        (songs / name).write_text("\n".join(["path,prompt,seed", *lines]), encoding="utf-8")
    elif name.endswith("jsonl"):
        (songs / name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    else:
        parquet.write_table(pa.Table.from_pylist(rows), songs / name)
    assert prompts_of(files(songs), None, [songs]) == [f"song {song}" for song in NAMES]
    assert [entry.seed for file in files(songs) if (entry := prompt_sources([file], None, [songs]).of(file))] == [
        0,
        1,
        2,
    ]
    with pytest.raises(MissingPromptsError, match=r"no prompt for '.*c\.ogg'; add"):
        prompts_of(files(songs)[2:], None, [songs / "deep"])
    assert captions(songs) == {Path(song).name: f"song {song}" for song in NAMES}


def test_a_link_has_the_prompt_of_its_file(songs: Path, tmp_path: Path) -> None:
    (tmp_path / "link.wav").symlink_to(songs / "a.wav")
    (songs / "t.csv").write_text("path,prompt\na.wav,jig\n", encoding="utf-8")
    assert prompts_of([tmp_path / "link.wav"], songs / "t.csv") == ["jig"]


@pytest.mark.parametrize("ending", SIDECARS)
def test_a_text_beside_a_track_is_its_caption(ending: str, songs: Path) -> None:
    for file in files(songs):
        text = f"\ufeffsong\r\n {file.stem}\r\n".encode()
        file.with_name(file.stem + ending).write_bytes(text)
    assert prompts_of(files(songs)) == ["song\r\n a", "song\r\n b", "song\r\n c"]
    assert captions(songs) == {"a.wav": "song a", "b.flac": "song b", "c.ogg": "song c"}
    (songs / f"a{ending}").write_bytes(b"\xff\xfea\0")
    with pytest.raises(TableError, match=rf"a\{ending}' is in UTF-16" if ending[0] == "." else "is in UTF-16"):
        prompts_of(files(songs))
    (songs / f"a{ending}").write_bytes(b" \n")
    with pytest.raises(MissingPromptsError, match=r"no prompt for '.*a\.wav'; add"):
        prompts_of(files(songs))


def test_a_text_that_is_named_for_captions_comes_before_one_that_may_hold_lyrics(songs: Path) -> None:
    (songs / "a.txt").write_text("[verse]\nla la\n", encoding="utf-8")
    (songs / "a_prompt.txt").write_text("a folk song\n", encoding="utf-8")
    assert prompts_of([songs / "a.wav"]) == ["a folk song"]
    (songs / "a.caption.txt").write_text("a slow folk song\n", encoding="utf-8")
    assert prompts_of([songs / "a.wav"]) == ["a slow folk song"]


def test_two_captions_of_one_file_are_refused_unless_they_are_the_same(songs: Path) -> None:
    (songs / "prompts.csv").write_text("path,prompt,seed\na.wav,a slow  air,\nb.flac,,3\n", encoding="utf-8")
    (songs / "metadata.csv").write_text("file_name,text,seed\na.wav,a slow air,4\nb.flac,jig,\n", encoding="utf-8")
    (songs / "a.txt").write_text("a slow\nair\n", encoding="utf-8")
    said = prompt_sources(files(songs)[:2])
    assert [(entry.text, entry.seed) for entry in said.entries.values()] == [("a slow  air", 4), ("jig", 3)]
    (songs / "a.txt").write_text("a fast air\n", encoding="utf-8")
    with pytest.raises(TableError, match=r"a\.wav' has other words in '.*prompts\.csv', row 1 than in '.*a\.txt'"):
        prompts_of(files(songs)[:2])
    table = songs / "prompts.csv"
    assert prompts_of([songs / "a.wav"], table) == ["a slow  air"]


def test_names_of_the_greatest_length_have_no_text_beside_them(songs: Path) -> None:
    long = songs / ("x" * 251 + ".wav")
    long.touch()
    (songs / "metadata.csv").write_text(f"file_name,text\n{'y' * 300}.wav,jig\n", encoding="utf-8")
    with pytest.raises(MissingPromptsError, match=r"no prompt for '.*x\.wav'"):
        prompts_of([long])


def test_a_table_beside_that_is_no_help_is_told_of_where_a_prompt_is_missing(songs: Path) -> None:
    (songs / "metadata.csv").write_text("file_name,transcription\na.wav,la la\n", encoding="utf-8")
    fault = "no column prompt or caption or text; its columns: file_name, transcription"
    with pytest.raises(MissingPromptsError) as refusal:
        prompts_of(files(songs)[:1])
    assert fault in str(refusal.value)
    found = gather([str(songs)])
    assert [fault in each for each in found.faults] == [True]
    (songs / "a.txt").write_text("a hymn\n", encoding="utf-8")
    assert prompts_of(files(songs)[:1]) == ["a hymn"]
    with pytest.raises(MissingColumnError, match="transcription"):
        prompts_of(files(songs)[:1], songs / "metadata.csv")


def test_clips_that_are_gone_are_a_fault_of_metadata_alone(songs: Path) -> None:
    (songs / "prompts.csv").write_text("path,prompt\na.wav,jig\ngone.wav,air\n", encoding="utf-8")
    assert gather([str(songs)]).faults == []
    (songs / "prompts.csv").rename(songs / "metadata.csv")
    assert [fault.split(": ")[1][:7] for fault in gather([str(songs)]).faults] == ["no file"]


def test_control_characters_in_a_caption_are_a_fault(songs: Path) -> None:
    (songs / "metadata.csv").write_text("file_name,text\na.wav,a \x1b[2Jjig\n", encoding="utf-8")
    assert "row 1: control characters" in gather([str(songs)]).faults[0]
