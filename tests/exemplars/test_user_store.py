"""The folder of a user's sets: names, broken folders, kills, other processes; spaces of remote encoders."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from dragon_rewards import DragonError, exemplars, load_registry
from dragon_rewards.builtin import shipped_sets
from dragon_rewards.exemplars import Manifest, read_manifest
from dragon_rewards.exemplars.item import text_item
from dragon_rewards.exemplars.places import sets_folder
from dragon_rewards.exemplars.store import find_set, save_set
from dragon_rewards.protocols import Modality
from dragon_rewards.testing import exemplar_sets as kit

if TYPE_CHECKING:
    from support.cli import Dragon, Refused, Rows

SAVER = """
from dragon_rewards.exemplars.item import text_item
from dragon_rewards.exemplars.store import find_set, save_set
from dragon_rewards.exemplars import read_manifest
for count in range(10**6):
    manifest = read_manifest(find_set("words").path)
    save_set(manifest, [text_item(f"caption {index} of {count}") for index in range(count % 7 + 2)], manifest)
    print(count, flush=True)
"""


LIGHT = """
import sys
from dragon_train.cli import main
try:
    main()
finally:
    heavy = {"torch", "numpy", "pyarrow", "soundfile", "huggingface_hub", "safetensors"} & set(sys.modules)
    assert not heavy, heavy
"""


def words(*captions: str) -> Manifest:
    manifest = Manifest("words", Modality.TEXT, 0, "CC0-1.0", "for tests", "a test", "")
    info = save_set(manifest, [text_item(caption) for caption in captions], None)
    return read_manifest(info.path)


def test_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DRAGON_EXEMPLARS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert sets_folder() == tmp_path / "dragon-rewards" / "exemplars"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sets_folder() == tmp_path / ".local" / "share" / "dragon-rewards" / "exemplars"


def test_names_that_are_malformed_taken_or_unknown(music: Path, refused: Refused) -> None:
    assert "'../x' is no name" in refused("exemplars", "add", "../x", music)
    assert "'airs' is taken by dragon_rewards.builtin" in refused("exemplars", "add", "airs", music)
    for verb in ("check", "remove", "show"):
        assert "unknown exemplar set" in refused("exemplars", verb, "nothing")
    assert "unknown encoder 'nothing'" in refused("exemplars", "add", "mine", music, "--encoder", "nothing")


def test_installed_sets_are_shown_too(rows: Rows, dragon: Dragon) -> None:
    shown = json.loads(dragon("exemplars", "show", "airs", "--json").stdout)
    assert (shown["count"], shown["encoders"], shown["items"]) == (
        1024,
        ["chroma", "clap", "logmel", "vae"],
        [],
    )
    assert "provenance" in dragon("exemplars", "show", "airs").stdout
    assert rows("exemplars", "list") == []


@pytest.mark.parametrize("damage", ["manifest", "items", "name"])
def test_a_broken_set_is_a_named_failure_and_breaks_no_other(
    damage: str, sets: Path, rows: Rows, dragon: Dragon, tmp_path: Path
) -> None:
    (tmp_path / "lines.txt").write_text("a jig\nan air\n")
    rows("exemplars", "add", "good", tmp_path / "lines.txt")
    rows("exemplars", "add", "bad", tmp_path / "lines.txt")
    if damage == "manifest":
        (sets / "bad" / "manifest.json").write_text("{")
    elif damage == "items":
        next((sets / "bad").glob("items-*")).unlink()
    else:
        (sets / "bad").rename(sets / "worse")
    names = {row["name"] for row in rows("list", "exemplar-sets")}
    assert {"airs", "good"} <= names
    assert "bad" not in names
    plugins = dragon("plugins")
    assert plugins.exit_code == 1
    assert "FAILED exemplar set " in plugins.stdout
    listed = dragon("exemplars", "list", "--json")
    assert [row["name"] for row in json.loads(listed.stdout)] == ["good"]
    assert "exemplar set " in listed.stderr
    name = "worse" if damage == "name" else "bad"
    assert dragon("exemplars", "check", name).exit_code == 2
    assert dragon("exemplars", "remove", name).exit_code == 0
    assert dragon("plugins").exit_code == 0


SPOILT: dict[str, bytes] = {
    "a list": b"[]",
    "deep nesting": b"[" * 100_000,
    "not UTF-8": b"\xff\xfe{}",
    "a number for a name": b'{"name": 5, "modality": "text", "count": 1, "licence": "", "summary": "", '
    b'"provenance": "", "sha256": ""}',
    "a number for a summary": b'{"name": "bad", "modality": "text", "count": 1, "licence": "", "summary": 7, '
    b'"provenance": "", "sha256": ""}',
    "what a terminal obeys": b'{"name": "bad", "modality": "text", "count": 1, "licence": "\\u001b[2J", "summary": "", '
    b'"provenance": "", "sha256": ""}',
}


@pytest.mark.parametrize("file", ["manifest.json", "items"])
@pytest.mark.parametrize("case", SPOILT)
def test_whatever_is_in_a_set_the_others_are_found(
    case: str, file: str, sets: Path, rows: Rows, dragon: Dragon, tmp_path: Path
) -> None:
    (tmp_path / "lines.txt").write_text("a jig\nan air\n")
    for name in ("good", "bad"):
        rows("exemplars", "add", name, tmp_path / "lines.txt")
    next((sets / "bad").glob(f"{file}*")).write_bytes(SPOILT[case])
    listed = dragon("list", "exemplar-sets", "--json")
    assert "left out: exemplar set bad" in listed.stderr
    names = {row["name"] for row in json.loads(listed.stdout)}
    assert {"airs", "good"} <= names
    assert "bad" not in names
    (found,) = [
        row for row in json.loads(dragon("doctor", "--json").stdout)["caches"] if row["cache"] == "exemplar sets"
    ]
    assert "exemplar set bad" in found["fault"]
    assert dragon("list", "rewards").exit_code == 0


def test_a_set_in_a_folder_of_no_name_takes_no_other_down(sets: Path, rows: Rows) -> None:
    words("a jig", "an air")
    shutil.copytree(sets / "words", sets / "My Words")
    manifest = json.loads((sets / "words" / "manifest.json").read_text()) | {"name": "My Words"}
    (sets / "My Words" / "manifest.json").write_text(json.dumps(manifest))
    assert "words" in {row["name"] for row in rows("list", "exemplar-sets")}


def test_an_installed_set_of_the_name_goes_first(sets: Path, rows: Rows, dragon: Dragon) -> None:
    words("a jig", "an air")
    (sets / "words").rename(sets / "airs")
    manifest = json.loads((sets / "airs" / "manifest.json").read_text()) | {"name": "airs"}
    (sets / "airs" / "manifest.json").write_text(json.dumps(manifest))
    assert [row["count"] for row in rows("list", "exemplar-sets") if row["name"] == "airs"] == [1024]
    assert "taken by dragon_rewards.builtin" in dragon("exemplars", "check", "airs").stdout


def test_a_change_of_another_process_is_not_lost(sets: Path) -> None:
    before = words("a jig", "an air")
    save_set(before, [text_item("a hymn")], before)
    with pytest.raises(DragonError, match="was changed meanwhile by another process"):
        save_set(before, [text_item("a waltz")], before)
    info = find_set("words")
    assert info
    assert exemplars.captions(info) == ["a hymn"]
    assert len(list((sets / "words").glob("items-*"))) == 1


def test_a_killed_change_leaves_the_old_set_or_the_new_one(sets: Path) -> None:
    words("a jig", "an air")
    for delay in (0.01, 0.025):
        process = subprocess.Popen([sys.executable, "-c", SAVER], stdout=subprocess.PIPE)
        assert process.stdout
        assert process.stdout.readline() == b"0\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        info = find_set("words")
        assert info
        assert info.count == len(exemplars.captions(info))
        assert exemplars.content_hash(info.path) == read_manifest(info.path).sha256
    assert sets.name == "sets"


def test_what_a_killed_first_time_leaves_is_no_set(sets: Path, rows: Rows, dragon: Dragon, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("a jig\nan air\n")
    rows("exemplars", "add", "words", tmp_path / "lines.txt")
    (sets / "words" / "manifest.json").unlink()
    assert rows("exemplars", "list") == []
    assert dragon("plugins").exit_code == 0
    assert rows("exemplars", "add", "words", tmp_path / "lines.txt")[0]["added"] == 2


def test_the_conformance_kit_passes_for_sets_of_the_users(music: Path, tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "lines.txt").write_text("a jig\nan air\n")
    rows("exemplars", "add", "words", tmp_path / "lines.txt")
    rows("exemplars", "add", "mine", music, "--encoder", "chroma")
    load_registry.cache_clear()
    for name in ("mine", "words"):
        case = kit.prepare(name, load_registry())
        for check in (kit.facts, kit.manifest, kit.content_hash, kit.count, kit.statistics):
            check(case)


def test_a_remote_encoder_with_a_prefix_is_served_by_the_statistics_of_its_space() -> None:
    registry = load_registry()
    near = registry.encoder("chroma")
    far = replace(near, name="far-chroma", space="chroma")
    airs, encoder = registry.exemplar_set("airs"), registry.build_encoder("chroma")
    assert exemplars.serves(airs, far)
    assert not exemplars.serves(airs, replace(near, name="far-chroma"))
    found = exemplars.reference(airs, far, encoder)
    assert torch.equal(found.mean, exemplars.reference(airs, near, encoder).mean)

    class Other:
        identity = "another"

    with pytest.raises(DragonError, match="were made with identity"):
        exemplars.reference(airs, far, Other())


def test_the_shipped_folder_is_read_as_before(tmp_path: Path) -> None:
    folder = shutil.copytree(shipped_sets() / "airs", tmp_path / "airs")
    info = exemplars.load_exemplar_set(folder)
    assert exemplars.items(info) == ()
    assert len(exemplars.captions(info)) == 1024


def test_listing_and_showing_import_nothing_heavy(music: Path, rows: Rows) -> None:
    rows("exemplars", "add", "mine", music, "--encoder", "chroma")
    for arguments in (["exemplars", "list"], ["exemplars", "show", "mine"], ["list", "rewards"], ["plugins"]):
        done = subprocess.run([sys.executable, "-c", LIGHT, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "mine" in done.stdout or arguments == ["plugins"]
