"""Sets in one file: the same rewards to the last digit, without the music or its names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import pytest
import torch
from safetensors.torch import load, save
from support.sounds import write_tone

from dragon_rewards.errors import DragonError
from dragon_rewards.exemplars.item import items_hash, unpack_items

if TYPE_CHECKING:
    from support.cli import Dragon, Refused, Rows
    from torch import Tensor

Members = dict[str, bytes]
Changed = Callable[["Members"], object]


def repack(source: Path, target: Path, change: Callable[[Members], object], compression: int = ZIP_STORED) -> Path:
    """A copy of an archive with changed members."""
    with ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with ZipFile(target, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target


def rehash(members: Members) -> None:
    hashes = {name: sha256(content).hexdigest() for name, content in members.items() if name != "hashes.json"}
    members["hashes.json"] = json.dumps(hashes).encode()


@pytest.fixture
def exported(music: Path, tmp_path: Path, rows: Rows) -> Path:
    """The set `mine` with statistics for two encoders, in a file."""
    (music / "metadata.csv").write_text("file_name,text\na.wav,a slow air\n")
    rows("exemplars", "add", "mine", music, "--encoder", "chroma", "--encoder", "logmel", "--licence", "CC-BY-4.0")
    (row,) = rows("exemplars", "export", "mine", tmp_path / "mine.zip")
    assert row["encoders"] == ["chroma", "logmel"]
    return tmp_path / "mine.zip"


def test_an_imported_set_gives_the_same_rewards_without_the_audio(
    exported: Path, music: Path, rows: Rows, dragon: Dragon, refused: Refused, sets: Path, tmp_path: Path
) -> None:
    clips = shutil.copytree(music, tmp_path / "clips")
    rewards = ["per-song-fad:chroma@mine", "dataset-fad:logmel@mine"]
    before = [rows("score", reward, clips) for reward in rewards]
    shutil.rmtree(sets)
    shutil.rmtree(music)
    (row,) = rows("exemplars", "import", exported)
    assert (row["name"], row["examples"], row["without_audio"], row["encoders"]) == ("mine", 4, 4, ["chroma", "logmel"])
    assert [rows("score", reward, clips) for reward in rewards] == before
    assert "no statistics for encoder 'vae', only for chroma, logmel" in refused(
        "score", "per-song-fad:vae@mine", clips
    )
    shown = json.loads(dragon("exemplars", "show", "mine", "--json").stdout)
    assert shown["licence"] == "CC-BY-4.0"
    assert [item["caption"] for item in shown["items"]] == ["a slow air", None, None, None]
    assert rows("exemplars", "check", "mine") == []
    # Who has the music too can add it, and more: the statistics that came are mended.
    more = write_tone(tmp_path / "more.wav", 2, seed=41)
    result = dragon("exemplars", "add", "mine", more, "--encoder", "chroma")
    assert "mine: encoding 1 file with 'chroma'\n" in result.stderr
    assert "no statistics for encoder 'vae'" in refused("score", "per-song-fad:vae@mine", clips)
    assert rows("exemplars", "add", "mine", clips)[0]["without_audio"] == 0
    assert "per-song-fad:vae@mine" in {row["name"] for row in rows("list", "rewards")}


def test_nothing_in_the_file_names_a_place(exported: Path, music: Path, tmp_path: Path, rows: Rows) -> None:
    content = exported.read_bytes()
    for secret in (str(tmp_path), music.name, "a.wav", "b.flac"):
        assert secret.encode() not in content
    rows("exemplars", "export", "mine", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == content


def test_a_text_set_travels_by_its_captions(tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "words.txt").write_text("a jig\nan air\na hymn\n")
    rows("exemplars", "add", "words", tmp_path / "words.txt")
    rows("exemplars", "export", "words", tmp_path / "words.zip")
    rows("exemplars", "import", tmp_path / "words.zip", "--name", "other")
    clip = write_tone(tmp_path / "clip.wav", 2)
    values = [rows("score", f"per-song-fad:clap@{name}", clip)[0]["value"] for name in ("words", "other")]
    assert values[0] == values[1]


def test_what_cannot_be_exported(music: Path, tmp_path: Path, rows: Rows, refused: Refused) -> None:
    rows("exemplars", "add", "mine", music)
    assert "exemplars add mine --encoder NAME" in refused("exemplars", "export", "mine", tmp_path / "x.zip")
    rows("exemplars", "add", "mine", "--encoder", "chroma")
    rows("exemplars", "remove", "mine", music / "a.wav")
    refusal = refused("exemplars", "export", "mine", tmp_path / "x.zip")
    assert "dragon exemplars add mine --encoder chroma" in refusal
    rows("exemplars", "add", "mine", "--encoder", "chroma")
    assert "is a folder; give FILE the path of a file" in refused("exemplars", "export", "mine", tmp_path)
    assert "unknown exemplar set of yours 'airs'" in refused("exemplars", "export", "airs", tmp_path / "x.zip")


def test_names_that_are_taken(exported: Path, rows: Rows, refused: Refused) -> None:
    assert "there is an exemplar set 'mine'" in refused("exemplars", "import", exported)
    assert "'airs' is taken by dragon_rewards.builtin" in refused("exemplars", "import", exported, "--name", "airs")
    assert "is no name" in refused("exemplars", "import", exported, "--name", "../x")
    assert rows("exemplars", "import", exported, "--name", "yours")[0]["name"] == "yours"


DAMAGE: dict[str, tuple[Callable[[Members], object], str]] = {
    "a changed byte": (lambda members: members.update({"items.jsonl": b"{}\n"}), "is damaged: items.jsonl"),
    "a missing file": (lambda members: members.pop("chroma.safetensors"), "is damaged"),
    "a path that leaves": (lambda members: members.update({"../x.safetensors": b""}), "is no name"),
    "a foreign file": (lambda members: members.update({"run.py": b""}), "is no file of `dragon exemplars export`"),
    "no hashes": (lambda members: members.pop("hashes.json"), "is no file of `dragon exemplars export`"),
    "hashes that are none": (lambda members: members.update({"hashes.json": b"[1]"}), "hashes.json in "),
}
FORGED: dict[str, tuple[Callable[[Members], object], str]] = {
    "items that are none": (lambda members: members.update({"items.jsonl": b"[]\n"}), "line 1 of items.jsonl in it"),
    "another set's items": (
        lambda members: members.update({"items.jsonl": members["items.jsonl"].split(b"\n")[0]}),
        "contradicts itself",
    ),
    "statistics that are none": (lambda members: members.update({"chroma.safetensors": b"x"}), "is cut off"),
    "a pickle": (lambda members: members.update({"chroma.safetensors": b"\x80\x04."}), "is cut off"),
    "a broken manifest": (lambda members: members.update({"manifest.json": b"{}"}), "is no manifest"),
    "a terminal's control characters": (
        lambda members: members.update({"manifest.json": members["manifest.json"].replace(b"CC-BY", b"\\u001b[2J")}),
        "control characters",
    ),
}


def restate(name: str, change: Callable[[dict[str, Tensor]], object], identity: str = "") -> Changed:
    """A change of the tensors of a file of statistics."""

    def changed(members: Members) -> None:
        header = json.loads(members[name][8 : 8 + int.from_bytes(members[name][:8], "little")])
        tensors = load(members[name])
        change(tensors)
        metadata = {"identity": identity or header["__metadata__"]["identity"]}
        members[name] = save({key: tensor.contiguous() for key, tensor in tensors.items()}, metadata)

    return changed


def respell(name: str, **changes: object) -> Changed:
    """A change of the first line of JSON of a file; of items, the manifest's hash is that of the new ones."""

    def changed(members: Members) -> None:
        first, _, rest = members[name].partition(b"\n") if name == "items.jsonl" else (members[name], b"", b"")
        members[name] = json.dumps(json.loads(first) | changes).encode() + b"\n" * bool(rest) + rest
        if name == "items.jsonl":
            manifest = json.loads(members["manifest.json"])
            with suppress(DragonError):  # of lines that are no items there is no hash
                manifest["sha256"] = items_hash(unpack_items(members[name], name, "make it again"))
            members["manifest.json"] = json.dumps(manifest).encode()

    return changed


CHROMA = "chroma.safetensors"
CONTRADICTIONS: dict[str, tuple[Changed, str]] = {
    "a covariance that is none": (
        restate(CHROMA, lambda tensors: tensors.update(covariance=-tensors["covariance"])),
        "holds no statistics",
    ),
    "a covariance that is not symmetric": (
        restate(CHROMA, lambda tensors: tensors.update(covariance=tensors["covariance"].triu())),
        "holds no statistics",
    ),
    "statistics of another space": (
        restate(CHROMA, lambda t: t.update(mean=t["mean"][:9].clone(), covariance=t["covariance"][:9, :9].clone())),
        "has 9 dimensions, and the encoder of this name has 12",
    ),
    "too few frames": (restate(CHROMA, lambda t: t.update(count=torch.tensor(3))), "counts 3 frames of 4 windows"),
    "too many frames": (restate(CHROMA, lambda t: t.update(count=torch.tensor(2**40))), "counts 1099511627776 frames"),
    "half a frame": (restate(CHROMA, lambda t: t.update(count=torch.tensor(99.5))), "as 'count' instead of int"),
    "tensors that nothing reads": (restate(CHROMA, lambda t: t.update(more=torch.zeros(1))), "holds count, covariance"),
    "statistics of other items": (
        restate(CHROMA, lambda t: t.update(items=t["items"].flip(1))),
        "chroma.safetensors is of another set",
    ),
    "an identity that a terminal obeys": (restate(CHROMA, lambda _: None, "\x1b[2J"), "names no identity"),
    "a count of other items": (respell("manifest.json", count=5), "counts 5 examples, and there are 4"),
    "a text without end": (respell("manifest.json", summary="x" * 70_000), "longer than 65536 characters"),
    "another modality": (respell("manifest.json", modality="text"), "example 1 is no text"),
    "negative windows": (respell("items.jsonl", windows=-1), "line 1 of items.jsonl in it"),
    "a length of two hours in one window": (respell("items.jsonl", seconds=7200.0), "example 1 is no audio"),
    "a length that is no number": (respell("items.jsonl", seconds=float("nan")), "wrong.zip'"),
    "a place on this machine": (respell("items.jsonl", path="/etc/passwd"), "example 1 is no audio"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_set_that_contradicts_itself_is_refused_before_anything_is_written(
    case: str, exported: Path, sets: Path, tmp_path: Path, refused: Refused
) -> None:
    change, reason = CONTRADICTIONS[case]

    def changed(members: Members) -> None:
        change(members)
        rehash(members)

    wrong = repack(exported, tmp_path / "wrong.zip", changed)
    shutil.rmtree(sets)
    assert reason in refused("exemplars", "import", wrong)
    assert not list(sets.glob("*/*"))


@pytest.mark.parametrize("case", [*DAMAGE, *FORGED])
def test_wrong_files_are_refused(case: str, exported: Path, sets: Path, tmp_path: Path, refused: Refused) -> None:
    change, reason = (DAMAGE | FORGED)[case]

    def changed(members: Members) -> None:
        change(members)
        if case in FORGED:
            rehash(members)

    wrong = repack(exported, tmp_path / "wrong.zip", changed)
    shutil.rmtree(sets)
    assert reason in refused("exemplars", "import", wrong)
    assert not list(sets.glob("*/*"))


def test_other_files_are_refused(
    exported: Path, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.zip").write_text("no archive")
    assert "is no file of" in refused("exemplars", "import", tmp_path / "text.zip")
    assert "is no file of" in refused("exemplars", "import", tmp_path / "gone.zip")
    packed = repack(exported, tmp_path / "packed.zip", lambda _: None, ZIP_DEFLATED)
    assert "it is compressed" in refused("exemplars", "import", packed, "--name", "new")
    (tmp_path / "cut.zip").write_bytes(exported.read_bytes()[:-100])
    assert "is no file of" in refused("exemplars", "import", tmp_path / "cut.zip", "--name", "new")
    monkeypatch.setattr("dragon_rewards.exemplars.archive.LIMIT", 1000)
    assert "it holds more than 1000 bytes" in refused("exemplars", "import", exported, "--name", "new")
