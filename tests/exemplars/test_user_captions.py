"""`dragon exemplars` with captions: three formats, adding and removing, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

from dragon_rewards import load_registry
from dragon_rewards.metrics import Gaussian

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Dragon, Refused, Rows

TEXTS = ["a slow air on the flute", "a fast jig, on the fiddle", "a hymn for organ"]
FILES = {
    "lines.txt": f"\ufeff{TEXTS[0]}\r\n\n  {TEXTS[1]} \n{TEXTS[2]}\n{TEXTS[0]}\n",
    "table.csv": f'id,caption\n1,{TEXTS[0]}\n2,"{TEXTS[1]}"\n3,"a hymn\nfor organ"\n',
    "table.jsonl": "\n".join(json.dumps({"id": index, "prompt": text}) for index, text in enumerate(TEXTS)),
    "upper.TXT": "\n".join(TEXTS),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_captions_becomes_a_text_set(name: str, tmp_path: Path, rows: Rows) -> None:
    (tmp_path / name).write_bytes(FILES[name].encode())
    (added,) = rows("exemplars", "add", "words", tmp_path / name)
    assert (added["added"], added["examples"], added["hours"]) == (3, 3, None)
    assert "per-song-fad:clap@words" in {row["name"] for row in rows("list", "rewards")}
    load_registry.cache_clear()
    found = load_registry().reference("words", "clap", torch.device("cpu"))
    encoder = load_registry().build_encoder("clap")
    expected = Gaussian.fit(encoder.encode_text(TEXTS))  # type: ignore[attr-defined]
    assert torch.equal(found.covariance, expected.covariance)
    assert rows("exemplars", "check", "words") == []


def test_captions_come_and_go(tmp_path: Path, rows: Rows, dragon: Dragon, refused: Refused) -> None:
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("a\nb\n")
    second.write_text("b\nc\n")
    rows("exemplars", "add", "words", first)
    (added,) = rows("exemplars", "add", "words", second)
    assert (added["added"], added["already_there"], added["examples"]) == (1, 1, 3)
    (removed,) = rows("exemplars", "remove", "words", first)
    assert (removed["removed"], removed["examples"]) == (2, 1)
    shown = json.loads(dragon("exemplars", "show", "words", "--json").stdout)
    assert [item["caption"] for item in shown["items"]] == ["c"]
    assert "nothing of this set is at" in refused("exemplars", "remove", "words", first)
    assert "nothing would be left" in refused("exemplars", "remove", "words", second)


def test_malformed_captions_are_refused(tmp_path: Path, refused: Refused, rows: Rows, music: Path) -> None:
    (tmp_path / "other.csv").write_text("title,artist\nx,y\n")
    assert "no column prompt or caption or text; its columns: title, artist" in refused(
        "exemplars", "add", "words", tmp_path / "other.csv"
    )
    (tmp_path / "gaps.csv").write_text("caption,id\na jig,1\n ,2\n\x1b[2Ja,3\n")
    refusal = refused("exemplars", "add", "words", tmp_path / "gaps.csv")
    assert "row 2: no text in column" in refusal
    assert "row 3: control characters" in refusal
    (tmp_path / "list.jsonl").write_text("[1]\n")
    assert "row 1: [1]; the rows of a table are objects" in refused(
        "exemplars", "add", "words", tmp_path / "list.jsonl"
    )
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    assert "is in UTF-16; save it in UTF-8" in refused("exemplars", "add", "words", tmp_path / "bytes.txt")
    (tmp_path / "blank.txt").write_text("\n\n")
    assert "nothing was found" in refused("exemplars", "add", "words", tmp_path / "blank.txt")
    (tmp_path / "good.txt").write_text("a jig\nan air\n")
    assert "both audio and captions" in refused("exemplars", "add", "words", tmp_path / "good.txt", music)
    rows("exemplars", "add", "words", tmp_path / "good.txt")
    assert "is text, and this is audio" in refused("exemplars", "add", "words", music)
    assert "does not embed" in refused("exemplars", "add", "words", "--encoder", "chroma")
