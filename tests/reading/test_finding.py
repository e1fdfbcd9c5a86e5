"""Folders are searched in one way: what the decoder reads is audio, links are followed, what is left out is said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import soundfile
from support.sounds import tone, write_tone

from dragon_rewards.errors import AudioError
from dragon_rewards.media.audio import read_audio
from dragon_rewards.media.discovery import FORMATS, SHOWN, UNDECODED, find_audio, suffixes

if TYPE_CHECKING:
    from support.cli import Dragon, Refused, Rows

REWARD = "per-song-fad:logmel@airs"


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_audio([folder])]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_what_the_decoder_reads_is_taken_by_its_suffixes(name: str, tmp_path: Path) -> None:
    if name not in soundfile.available_formats():
        pytest.skip("a libsndfile without it")
    for at, suffix in enumerate(FORMATS[name]):
        path = tmp_path / f"{at}{suffix.upper()}"
        soundfile.write(path, tone(1.0, 48_000), 48_000, format=name, subtype="OPUS" if suffix == ".opus" else None)
        assert read_audio(path)[0].shape[1] == 48_000
    assert len(find_audio([tmp_path])) == len(FORMATS[name])


def test_no_suffix_is_of_two_kinds() -> None:
    every = [suffix for each in FORMATS.values() for suffix in each]
    assert len(set(every)) == len(every)
    assert not UNDECODED & suffixes()
    assert {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".caf", ".au", ".w64", ".rf64"} <= suffixes()


def test_hidden_files_are_no_audio_but_a_hidden_folder_may_be_named(tmp_path: Path) -> None:
    for name in ("a.wav", "._a.wav", ".b.wav", ".cache/c.wav", "__MACOSX/d.wav", "deep/__MACOSX/._e.wav"):
        write_tone(tmp_path / name, 1.0)
    assert names(tmp_path) == ["a.wav"]
    assert names(tmp_path / ".cache") == ["c.wav"]
    assert find_audio([tmp_path / ".b.wav"]) == [tmp_path / ".b.wav"]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write_tone(outside / "b.wav", 1.0)
    write_tone(outside / "deep" / "c.wav", 1.0)
    folder = tmp_path / "music"
    write_tone(folder / "a.wav", 1.0)
    (folder / "album").symlink_to(outside)
    (folder / "z-again").symlink_to(outside)
    (outside / "deep" / "up").symlink_to(folder)
    (folder / "itself.wav").symlink_to(folder / "itself.wav")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "copy.wav").symlink_to(folder / "a.wav")
    assert names(folder) == ["a.wav", "album/b.wav", "album/deep/c.wav"]


def test_a_file_named_in_two_ways_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tone(tmp_path / "a.wav", 1.0)
    (tmp_path / "b.wav").symlink_to("a.wav")
    monkeypatch.chdir(tmp_path)
    ways = [Path("a.wav"), Path("./b.wav"), tmp_path / "a.wav", Path(f"../{tmp_path.name}/a.wav"), tmp_path, Path()]
    assert find_audio(ways) == [Path("a.wav")]


def test_audio_that_cannot_be_decoded_is_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tone(tmp_path / "a.wav", 1.0)
    (tmp_path / "broken.flac").symlink_to(tmp_path / "gone.flac")
    for number in range(SHOWN + 1):
        (tmp_path / f"{number}.m4a").touch()
    (tmp_path / "notes.txt").touch()
    assert names(tmp_path) == ["a.wav"]
    said = capsys.readouterr().err
    assert f"{SHOWN + 2} files: {tmp_path / '0.m4a'}" in said
    assert "and 2 more; to use them, convert them to FLAC" in said
    assert "notes" not in said


def test_a_folder_that_has_but_such_audio_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.wma").touch()
    with pytest.raises(AudioError, match=r"holds no audio that can be decoded here, but .*a\.wma; convert it"):
        find_audio([tmp_path])


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="a folder that its owner cannot read")
def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav", 1.0)
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(AudioError, match=r"closed' cannot be read"):
        find_audio([tmp_path])


def test_hidden_files_of_a_mac_do_no_harm(tmp_path: Path, rows: Rows) -> None:
    write_tone(tmp_path / "d" / "a.wav", 1.0)
    (tmp_path / "d" / "._a.wav").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X        ")
    assert [row["path"] for row in rows("score", REWARD, tmp_path / "d")] == [str(tmp_path / "d" / "a.wav")]
    assert rows("exemplars", "add", "mine", tmp_path / "d")[0]["examples"] == 1


def test_every_format_counts_in_every_command(tmp_path: Path, dragon: Dragon, refused: Refused) -> None:
    folder = tmp_path / "d"
    for name in ("a.wav", "b.aiff", "e.au"):
        write_tone(folder / name, 1.0)
    soundfile.write(folder / "c.opus", tone(1.0, 48_000), 48_000, format="OGG", subtype="OPUS")
    (folder / "d.m4a").write_bytes(b"\0\0\0 ftypM4A ")
    (folder / "linked").symlink_to(folder)
    for command in (("score", REWARD), ("rank", "--reward", REWARD), ("compare", folder, "--rewards", REWARD)):
        result = dragon(*command, folder)
        assert result.exit_code == 0, result.stderr
        assert "1 file: " + str(folder / "d.m4a") in result.stderr
        assert "c.opus" in result.stdout or "4 clips" in result.stderr or "A has 4" in result.stderr
    added = dragon("exemplars", "add", "mine", folder, "--json")
    assert '"added": 4' in added.stdout
    assert "1 file: " + str(folder / "d.m4a") in added.stderr
    for command in (("score", REWARD), ("exemplars", "add", "other")):
        assert "M4A is not decoded here: convert it to FLAC" in refused(*command, folder / "d.m4a")
