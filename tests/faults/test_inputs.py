"""Files as people have them: each was scored wrongly in silence, lost, or answered by a traceback once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import soundfile
from support.faults import material
from support.faults.forks import surroundings
from support.faults.running import REFUSED, Ran, is_clean, run
from support.faults.tally import Fate

if TYPE_CHECKING:
    from support.faults.tally import Tally

pytestmark = pytest.mark.slow

SCORE, ADD = ("score", "per-song-fad:logmel@airs"), ("exemplars", "add", "mine")
MATCH = ("score", "clap-score:clap")
QUICK = ("--steps", 2, "--guidance", 1)
HYMN = "slow, calm hymn, organ"
SOLEMN = (
    "a slow and very solemn piece of music in the old style, recorded in a large church with a long echo, played late "
    "in the evening by a small group of old friends who know one another very well and who like to take their time "
    "over every single phrase of the melody, on "
)


@pytest.fixture(name="here")
def folder_with_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: three clips, the first of them in `d` as well, and `f`, which is a file."""
    for name, value in surroundings(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(material.write_sounds(tmp_path))
    material.write_sounds(tmp_path / "d", "a")
    (tmp_path / "f").touch()
    return tmp_path


def write(name: str, text: str | bytes) -> None:
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())


def macos() -> None:
    write("d/._a.wav", b"\0\5\26\7\0\2\0\0Mac OS X        ")
    Path("d/__MACOSX").mkdir()
    write("d/__MACOSX/a.wav", b"no audio")


def formats() -> None:
    soundfile.write("d/b.aiff", material.sound(), material.RATE, format="AIFF")
    soundfile.write("d/c.opus", material.sound(), 16_000, format="OGG", subtype="OPUS")
    write("d/d.m4a", b"\0\0\0 ftypM4A ")


def table(name: str, *lines: str, end: str = "\n") -> Callable[[], None]:
    return lambda: write(name, end.join([*lines, ""]))


def truncated() -> None:
    write("cut.wav", Path("a.wav").read_bytes()[:40_000])


def loud() -> None:
    soundfile.write("big.wav", material.sound() * 32_768, material.RATE, subtype="FLOAT")


def quiet() -> None:
    soundfile.write("low.wav", material.sound() * 1e-6, material.RATE, subtype="FLOAT")


def odd_name() -> None:
    Path("d/a.wav").replace(os.fsdecode(b"d/caf\xe9.wav"))


def long_prompts() -> None:
    material.write_sounds(Path("d"), "ab")
    write("d/prompts.csv", f'path,prompt\na.wav,"{SOLEMN}the organ"\nb.wav,"{SOLEMN}a fast fiddle"\n')


def loop() -> None:
    Path("d/again").symlink_to(Path("d").absolute())


def nothing() -> None:
    """The clips are enough."""


@dataclass(frozen=True)
class Case:
    """Inputs, the command that is given them, and what is right.

    Attributes:
        said: words that it says, on stdout or stderr.
        holds: what is true of the rows that it prints as JSON.
    """

    name: str
    prepare: Callable[[], None]
    arguments: tuple[object, ...]
    code: int = 0
    said: tuple[str, ...] = ()
    holds: Callable[[Any], bool] = bool


def rows(count: int) -> Callable[[Any], bool]:
    return lambda found: len(found) == count


def added(count: int) -> Callable[[Any], bool]:
    return lambda found: found[0]["added"] == count


TABLE = table("d/prompts.csv", "path,prompt", f"a.wav,{HYMN}")
UNREADABLE = ("f/x.csv", "proc")
CASES = [
    Case("hidden files are no audio", macos, (*SCORE, "d", "--json"), holds=rows(1)),
    Case("nor are they exemplars", macos, (*ADD, "d", "--json"), holds=added(1)),
    Case("what can be read is taken", formats, (*SCORE, "d", "--json"), said=("d.m4a",), holds=rows(3)),
    Case("as exemplars, too", formats, (*ADD, "d", "--json"), said=("d.m4a",), holds=added(3)),
    Case("a loop of links ends", loop, (*SCORE, "d", "--json"), holds=rows(1)),
    Case("a file in two ways is one", nothing, (*SCORE, "d", "d/a.wav", "./d/a.wav", "--json"), holds=rows(1)),
    Case("a prompt with bare commas", TABLE, (*MATCH, "d"), REFUSED, ("prompts.csv", "row 1")),
    Case(
        "a caption with bare commas",
        table("d/metadata.csv", "file_name,caption", f"a.wav,{HYMN}"),
        (*ADD, "d"),
        REFUSED,
        ("metadata.csv", "row 1"),
    ),
    Case("captions with bare commas", table("c.csv", "caption", HYMN), (*ADD, "c.csv"), REFUSED, ("c.csv", "row 1")),
    Case("a truncated file", truncated, (*SCORE, "a.wav", "cut.wav"), REFUSED, ("cut.wav",)),
    Case("a truncated exemplar", truncated, (*ADD, "cut.wav"), REFUSED, ("cut.wav",)),
    Case("samples on another scale", loud, (*SCORE, "a.wav", "big.wav"), REFUSED, ("big.wav", "peak")),
    Case("exemplars on another scale", loud, (*ADD, "big.wav"), REFUSED, ("big.wav", "peak")),
    Case("what nobody hears", quiet, (*SCORE, "low.wav"), REFUSED, ("low.wav",)),
    Case("no place for a table", nothing, (*SCORE, "a.wav", "--csv", "f/x.csv"), REFUSED, ("f/x.csv",)),
    Case(
        "a file for a folder of choices",
        nothing,
        ("best-of", 2, "a hymn", "--reward", MATCH[1], *QUICK, "--out", "f"),
        REFUSED,
        ("f",),
    ),
    Case("a file for a folder of clips", nothing, ("sample", "a hymn", *QUICK, "--out", "f"), REFUSED, ("f",)),
    Case("a file for a folder of a run", nothing, ("train", "--reward", "vendi:clap", "--out", "f"), REFUSED, ("f",)),
    Case("a file for a benchmark's folder", nothing, ("bench", "--out", "f"), REFUSED, ("f",)),
    Case("a name that is not UTF-8", odd_name, (*SCORE, "d"), said=("caf",)),
    Case("and its rank", odd_name, ("rank", "d", "--reward", SCORE[1]), said=("caf",)),
    Case("and as an exemplar", odd_name, (*ADD, "d", "--json"), holds=added(1)),
    Case(
        "semicolons",
        table("d/metadata.csv", "file_name;caption", "a.wav;a hymn"),
        (*ADD, "d", "--json"),
        holds=added(1),
    ),
    Case(
        "columns that mean nothing",
        table("d/metadata.csv", "file_name,transcription", "a.wav,a hymn"),
        (*ADD, "d"),
        REFUSED,
        ("metadata.csv", "transcription", "caption"),
    ),
    Case(
        "prompts after semicolons",
        table("d/prompts.csv", "path;prompt", "a.wav;a hymn"),
        (*MATCH, "d", "--json"),
        holds=rows(1),
    ),
    Case(
        "prompts as JSON",
        table("d/p.json", '[{"path": "a.wav", "prompt": "a hymn"}]'),
        (*MATCH, "d", "--prompts", "d/p.json", "--json"),
        holds=rows(1),
    ),
    Case(
        "a path listed twice",
        table("d/prompts.csv", "path,prompt", "a.wav,a hymn", "a.wav,a jig"),
        (*MATCH, "d"),
        REFUSED,
        ("prompts.csv",),
    ),
    Case("longer prompts than are heard", long_prompts, (*MATCH, "d"), said=("2 of 2",)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_people_have_is_read_or_refused(case: Case, here: Path, tally: Callable[[str], Tally]) -> None:
    assert here.is_dir()
    counts = tally("input")
    case.prepare()
    ran = run(case.arguments)
    wrong = what_is_wrong(case, ran)
    counts.add(Fate.ESCAPED if wrong else (Fate.REFUSED if case.code else Fate.RECOMPUTED), wrong, str(ran)[:1500])
    counts.check()


def what_is_wrong(case: Case, ran: Ran) -> str:
    said = " ".join((ran.out + ran.err).split())
    if ran.raised or ran.code != case.code:
        return f"exit code {ran.code}, not {case.code}: {ran.raised or said[-300:]}"
    if missing := [word for word in case.said if word not in said]:
        return f"nothing is said of {missing}: {said[-300:]}"
    if not is_clean(ran.err):
        return f"what a terminal obeys: {ran.err!r}"
    return "" if "--json" not in case.arguments or case.holds(json.loads(ran.out)) else f"other rows: {ran.out}"


def captions() -> list[str]:
    return [item.get("caption") for item in json.loads(run(("exemplars", "show", "mine", "--json")).out)["items"]]


def test_captions_after_semicolons_are_kept(here: Path) -> None:
    write("d/metadata.csv", "file_name;caption\na.wav;a hymn\n")
    assert run((*ADD, "d")).code == 0, here
    assert captions() == ["a hymn"]


def test_a_byte_order_mark_is_no_text(here: Path) -> None:
    write("bom.txt", b"\xef\xbb\xbfa hymn on the organ\r\na jig\r\n")
    write("plain.txt", "a hymn on the organ\na jig\n")
    for name in ("bom", "plain"):
        assert run(("sample", "--prompts", f"{name}.txt", *QUICK, "--out", name)).code == 0
    bom, plain = ({path.name: path.read_bytes() for path in (here / name).iterdir()} for name in ("bom", "plain"))
    assert bom == plain
    compared = run(("compare", "bom", "plain", "--rewards", SCORE[1]))
    assert "by prompt and seed" in compared.out + compared.err


def test_the_table_beside_clips_gives_the_same_prompts(here: Path) -> None:
    assert run(("sample", "a hymn on the organ", "a jig", *QUICK, "--out", "first")).code == 0
    assert run(("sample", "--prompts", "first/prompts.csv", *QUICK, "--out", "again")).code == 0
    assert (here / "again" / "prompts.csv").read_bytes() == (here / "first" / "prompts.csv").read_bytes()


def test_clips_beside_others_are_refused_unless_told(here: Path) -> None:
    assert run(("sample", "a hymn", "a jig", *QUICK, "--out", "o")).code == 0
    before = {path.name: path.read_bytes() for path in (here / "o").iterdir()}
    refused = run(("sample", "a waltz", *QUICK, "--out", "o"))
    assert refused.code == REFUSED
    assert "--overwrite" in refused.err
    assert "--append" in refused.err
    assert {path.name: path.read_bytes() for path in (here / "o").iterdir()} == before
    assert run(("sample", "a waltz", *QUICK, "--out", "o", "--append")).code == 0
    assert len(list((here / "o").glob("*.wav"))) == 3
