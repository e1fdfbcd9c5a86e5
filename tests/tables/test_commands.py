"""What people's tables and lists come to on the command line: the same in every command, or a refusal of one line."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.cli import dragon
from support.sounds import write_tone

from dragon_rewards.exemplars import captions
from dragon_rewards.exemplars.store import find_set
from dragon_rewards.registry import load_registry

CLAP_SCORE, FAD = "clap-score:clap", "per-song-fad:logmel@airs"
QUICK = ("--diffusion-steps", "2", "--guidance", "1")
HYMN = "slow, calm hymn, organ"


@pytest.fixture(name="clips")
def folder_of_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two files; exemplar sets are kept beside them."""
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    load_registry.cache_clear()
    for seed, name in enumerate(("a.wav", "b.wav")):
        write_tone(tmp_path / "clips" / name, 1.0, seed=seed)
    return tmp_path / "clips"


def rows(*arguments: object) -> list[dict[str, Any]]:
    done = dragon(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def refused(*arguments: object) -> str:
    done = dragon(*arguments)
    assert (done.exit_code, done.stdout) == (2, ""), done.stderr
    return " ".join(done.stderr.split())


def kept(name: str) -> list[str]:
    load_registry.cache_clear()
    found = find_set(name)
    assert found
    return captions(found)


def test_an_unquoted_comma_cuts_no_prompt(clips: Path, tmp_path: Path) -> None:
    table, message = clips / "prompts.csv", "row 1: 4 cells, and the header has 2; a text with a separator in it stands"
    table.write_text(f'path,prompt\na.wav,{HYMN}\nb.wav,"{HYMN}"\n', encoding="utf-8")
    assert message in refused("score", CLAP_SCORE, clips)
    assert message in refused("exemplars", "add", "m", clips)
    table.write_text("path;prompt\n" + "".join(f"{name};{HYMN}\n" for name in ("a.wav", "b.wav")), encoding="utf-8")
    assert len(rows("score", CLAP_SCORE, clips)) == 2
    rows("exemplars", "add", "m", clips)
    assert kept("m") == [HYMN, HYMN]
    (tmp_path / "c.csv").write_text("caption\na slow hymn, played on organ\n", encoding="utf-8")
    assert "row 1: 2 cells, and the header has 1" in refused("exemplars", "add", "n", tmp_path / "c.csv")


def test_lists_and_tables_give_the_same_clips(tmp_path: Path) -> None:
    prompts = ["a hymn on the organ", "a jig"]
    (tmp_path / "marked.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(prompts).encode() + b"\r\n")
    (tmp_path / "list.json").write_text(json.dumps(prompts), encoding="utf-8")
    outs = [tmp_path / "first", tmp_path / "again", tmp_path / "third"]
    sources = [tmp_path / "marked.txt", outs[0] / "prompts.csv", tmp_path / "list.json"]
    for source, out in zip(sources, outs, strict=True):
        rows("sample", "--prompts", source, *QUICK, "--out", out)
    assert pd.read_csv(outs[1] / "prompts.csv")["prompt"].tolist() == prompts
    for name in ("prompts.csv", "0000-a-hymn-on-the-organ.wav", "0001-a-jig.wav"):
        assert len({(out / name).read_bytes() for out in outs}) == 1, name
    compared = dragon("compare", outs[0], outs[1], "--rewards", FAD)
    assert "clips are compared by prompt and seed" in compared.stderr
    assert "bytes that are no text in UTF-8" in refused("sample", "a j\udcffg", "--out", tmp_path / "out")
    assert "no column prompt or caption or text; its columns: title" in _refused_list(tmp_path, "title\na jig\n")
    assert "row 2: no text in column prompt or caption or text" in _refused_list(tmp_path, "prompt,seed\na jig,1\n,2\n")


def _refused_list(folder: Path, content: str) -> str:
    """By every command that generates, before any model is loaded."""
    (folder / "list.csv").write_text(content, encoding="utf-8")
    given = ("--prompts", folder / "list.csv")
    said = {
        refused("sample", *given, "--out", folder / "out"),
        refused("best-of", 2, *given, "--reward", FAD, "--out", folder / "out"),
        refused("train", *given, "--reward", FAD, "--out", folder / "out"),
        refused("bench", *given, "--out", folder / "out"),
        refused("ablate", "loss-pairing", *given, "--out", folder / "out"),
        refused("estimate", *given),
    }
    assert not (folder / "out").exists()
    assert len(said) == 1
    return said.pop()


def test_the_columns_that_were_found_are_named(clips: Path, tmp_path: Path) -> None:
    (clips / "metadata.csv").write_text("file_name;caption\na.wav;a hymn\n", encoding="utf-8")
    rows("exemplars", "add", "m", clips)
    assert kept("m") == ["a hymn"]
    (clips / "metadata.csv").write_text("file_name,transcription\na.wav,a hymn\n", encoding="utf-8")
    fault = "no column prompt or caption or text; its columns: file_name, transcription"
    assert fault in refused("exemplars", "add", "n", clips)
    assert fault in refused("score", CLAP_SCORE, clips)
    assert fault in dragon("exemplars", "add", "n", clips, "--skip-bad").stderr
    (clips / "metadata.csv").unlink()
    table = tmp_path / "p.json"
    table.write_text(json.dumps([{"path": f"clips/{name}.wav", "prompt": "a hymn"} for name in "ab"]), encoding="utf-8")
    scored = rows("score", CLAP_SCORE, clips, "--prompts", table)
    ranked = rows("rank", clips, "--reward", CLAP_SCORE, "--prompts", table)
    assert {row["value"] for row in ranked} == {row["value"] for row in scored}
    assert "compared by prompt" in dragon("compare", clips, clips, "--rewards", CLAP_SCORE, "--prompts", table).stderr
    page = tmp_path / "page.html"
    options = ("--db", tmp_path / "v.sqlite", "--out", page, "--repeats", 0, "--identical", 0)
    assert dragon("listen", "page", clips, clips, "--prompts", table, *options).exit_code == 0
    table.write_text(json.dumps([{"file": "a.wav"}]), encoding="utf-8")
    message = "no column path or file_name and no column prompt or caption or text; its columns: file"
    for verb in (("score", CLAP_SCORE, clips), ("rank", clips, "--reward", CLAP_SCORE), ("compare", clips, clips)):
        assert message in refused(*verb, "--prompts", table)
    table.write_text(json.dumps([{"path": "clips/a.wav", "prompt": "a hymn"}]), encoding="utf-8")
    assert "no prompt for" in refused("compare", clips, clips, "--rewards", FAD, "--prompts", table)
    table.write_text(json.dumps([{"file": "a.wav"}]), encoding="utf-8")
    assert message in refused("listen", "page", clips, clips, "--prompts", table, *options)
    assert "it is a list of texts" in refused("score", CLAP_SCORE, clips, "--prompts", _list(tmp_path))


def _list(folder: Path) -> Path:
    (folder / "list.txt").write_text("a hymn\na jig\n", encoding="utf-8")
    return folder / "list.txt"


@pytest.mark.slow
def test_prompts_beyond_what_the_encoder_reads_are_told_of_once(clips: Path) -> None:
    beginning = "a very slow and solemn piece of music in the old style, played late in the evening by old friends " * 2
    lines = [f'{name}.wav,"{beginning}{ending}"' for name, ending in (("a", "the organ"), ("b", "a fast fiddle"))]
    (clips / "prompts.csv").write_text("\n".join(["path,prompt", *lines]), encoding="utf-8")
    command = [sys.executable, "-m", "dragon_train.cli", "score", CLAP_SCORE, str(clips), "--json"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    assert done.stderr.count("\n") == 1
    assert "2 of 2 different texts are longer than the 32 tokens that encoder 'clap' reads" in done.stderr
    (clips / "prompts.csv").write_text("path,prompt\na.wav,a jig\nb.wav,a hymn\n", encoding="utf-8")
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize(
    "verb",
    [
        ("rank", "CLIPS", "--reward", CLAP_SCORE, "--prompts", "TABLE"),
        ("compare", "CLIPS", "CLIPS", "--rewards", CLAP_SCORE, "--prompts", "TABLE"),
        ("best-of", "2", "--reward", CLAP_SCORE, "--prompts", "TABLE", *QUICK, "--out", "OUT"),
        ("train", "run.toml", "--prompts", "TABLE", "--out", "OUT"),
        ("exemplars", "add", "words", "TABLE"),
    ],
    ids=lambda verb: verb[0],
)
def test_every_command_tells_of_texts_that_are_cut(
    verb: tuple[str, ...],
    clips: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(
        f'reward = "{CLAP_SCORE}"\nsteps = 1\nprompts_per_step = 2\ndemonstration_steps = 2\nepochs = 1\n'
        "heldout_prompts = 0\n",
        encoding="utf-8",
    )
    table = tmp_path / "table.csv"
    table.write_text(f"path,text\nclips/a.wav,{'a slow hymn ' * 20}\nclips/b.wav,a jig\n", encoding="utf-8")
    places = {"CLIPS": str(clips), "TABLE": str(table), "OUT": str(tmp_path / "out")}
    with caplog.at_level(logging.WARNING, "dragon_rewards.encoders.text_limits"):
        done = dragon(*(places.get(word, word) for word in verb))
        assert done.exit_code == 0, done.output
        if verb[0] == "exemplars":
            load_registry.cache_clear()
            assert dragon("score", "per-song-fad:clap@words", clips).exit_code == 0
    told = [record.getMessage() for record in caplog.records if record.name == "dragon_rewards.encoders.text_limits"]
    assert len(told) == 1
    assert told[0].startswith("1 of 2 different texts are longer than the 32 tokens that encoder 'clap' reads")
