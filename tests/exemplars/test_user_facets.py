"""`dragon exemplars facets`: two sounds are two facets, named by captions; what is stale, foreign or elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
import torch

from dragon_rewards import DragonError, compose, load_registry
from dragon_rewards.exemplars.facets import describe_facets, load_facets, write_facets
from dragon_rewards.testing import checks
from exemplars.test_user_archive import rehash, repack
from exemplars.test_user_store import LIGHT

if TYPE_CHECKING:
    from support.cli import Dragon, Refused, Rows

    from exemplars.test_user_archive import Members

RATE = 16_000
SLOW: dict[str, Any] = {"note": 1.25, "partials": (1, 0.8, 0.6, 0.5, 0.4, 0.3), "pitches": (131, 147, 165, 196)}
FAST: dict[str, Any] = {"note": 0.2, "partials": (1, 0.2), "pitches": (587, 659, 740, 880)}
CAPTIONS = ["a fast jig for flute, high register", "a slow hymn, low register"]


def melody(path: Path, seed: int, note: float, partials: tuple[float, ...], pitches: tuple[int, ...]) -> Path:
    """Five seconds of notes at random of these pitches in Hz."""
    random, time = np.random.default_rng(seed), np.arange(round(note * RATE)) / RATE
    edges = np.minimum(1, 50 * np.minimum(time, note - time))
    drawn = random.choice(pitches, round(5 / note))
    notes = [sum(a * np.sin(2 * np.pi * p * n * time) for n, a in enumerate(partials, 1)) * edges for p in drawn]
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.15 * np.concatenate(notes), RATE)
    return path


@pytest.fixture(scope="session")
def melodies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six slow low melodies and three fast high ones."""
    folder = tmp_path_factory.mktemp("melodies")
    for seed in range(6):
        melody(folder / f"slow{seed}.wav", seed, **SLOW)
    for seed in range(3):
        melody(folder / f"fast{seed}.wav", seed, **FAST)
    return folder


@pytest.fixture
def tunes(melodies: Path, tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the set `mine`, which has facets for clap; what is encoded for a test is known to the next."""
    monkeypatch.setenv("DRAGON_CACHE", str(melodies.with_name("cache")))
    folder = shutil.copytree(melodies, tmp_path / "tunes")
    rows("exemplars", "add", "mine", folder)
    rows("exemplars", "facets", "mine", "--encoder", "clap", "--count", 2)
    return folder


def test_two_sounds_are_two_facets_named_by_installed_captions(tunes: Path, rows: Rows, dragon: Dragon) -> None:
    slow, fast = rows("exemplars", "facets", "mine", "--encoder", "clap", "--count", 2, "--seed", 7)
    assert (slow["facet"], fast["facet"]) == (1, 2)
    assert (slow["share"], fast["share"]) == pytest.approx((2 / 3, 1 / 3))
    assert all(Path(example).name.startswith("slow") for example in slow["examples"])
    assert sorted(fast["examples"]) == [str(tunes / f"fast{seed}.wav") for seed in range(3)]
    assert slow["spread"] > 0
    words = ("chorale", "hymn", "slow", "sparse", "few notes")
    assert all(any(word in name for word in words) for name in slow["captions"])
    assert all("high register" in name for name in fast["captions"])
    shown = dragon("exemplars", "facets", "mine", "--encoder", "clap", "--count", 2).stdout
    assert "high register; " in shown


def test_captions_of_a_file_or_of_the_set_name_facets(
    tunes: Path, tmp_path: Path, rows: Rows, refused: Refused
) -> None:
    (tmp_path / "names.txt").write_text("\n".join(CAPTIONS))
    options = ("--encoder", "clap", "--count", 2)
    slow, fast = rows("exemplars", "facets", "mine", *options, "--captions", tmp_path / "names.txt")
    assert (fast["captions"], slow["captions"]) == (CAPTIONS, CAPTIONS[::-1])
    named = [(path.name, CAPTIONS[path.name.startswith("slow")]) for path in sorted(tunes.iterdir())]
    (tunes / "metadata.jsonl").write_text("\n".join(json.dumps({"file_name": a, "text": b}) for a, b in named))
    rows("exemplars", "add", "own", tunes)
    slow, fast = rows("exemplars", "facets", "own", *options)
    assert (fast["captions"], slow["captions"]) == (CAPTIONS, CAPTIONS[::-1])
    (tmp_path / "names.txt").write_text("\n")
    assert "is no file of captions" in refused(
        "exemplars", "facets", "mine", *options, "--captions", tmp_path / "names.txt"
    )
    assert "embeds no text" in refused("exemplars", "facets", "mine", "--encoder", "chroma", "--captions", "x.txt")
    plain = rows("exemplars", "facets", "mine", "--encoder", "chroma", "--count", 2)
    assert [facet["captions"] for facet in plain] == [[], []]


def test_a_set_of_captions_has_facets(tmp_path: Path, rows: Rows, refused: Refused) -> None:
    jigs = [f"a fast {kind} jig for flute in {key}" for kind in ("merry", "bright") for key in "CDG"]
    hymns = [f"a slow {kind} hymn for church organ" for kind in ("sad", "dark", "calm")]
    (tmp_path / "words.txt").write_text("\n".join(jigs + hymns))
    rows("exemplars", "add", "words", tmp_path / "words.txt")
    first, second = rows("exemplars", "facets", "words", "--encoder", "clap", "--count", 2)
    assert (first["share"], second["share"]) == pytest.approx((2 / 3, 1 / 3))
    assert set(first["captions"] + first["examples"]) <= set(jigs)
    assert set(second["captions"] + second["examples"]) <= set(hymns)
    assert "is text, which encoder 'chroma' does not embed" in refused(
        "exemplars", "facets", "words", "--encoder", "chroma"
    )
    assert "too few for 10 facets" in refused("exemplars", "facets", "words", "--encoder", "clap", "--count", 10)


def test_the_reward_is_how_much_of_the_facets_a_set_covers(tunes: Path, tmp_path: Path, rows: Rows) -> None:
    name = "facet-coverage:clap@mine"
    assert rows("score", name, tunes)[0]["value"] == pytest.approx(1)
    others = [melody(tmp_path / "slow" / f"{seed}.wav", seed + 20, **SLOW) for seed in range(3)]
    assert rows("score", name, tmp_path / "slow")[0]["value"] == pytest.approx(2 / 3, abs=0.02)
    both = [*others[:2], melody(tmp_path / "fast.wav", 30, **FAST)]
    assert rows("score", name, *both)[0]["value"] > 0.97
    assert name in {row["name"] for row in rows("list", "rewards")}


def test_sets_without_facets_are_refused_with_the_command(tunes: Path, refused: Refused) -> None:
    command = "make them: dragon exemplars facets mine --encoder vae"
    assert command in refused("score", "facet-coverage:vae@mine", tunes)
    assert "add @<set>" in refused("score", "facet-coverage:clap", tunes)
    for name in ("airs", "airs-captions"):
        for arguments in (
            ("score", f"facet-coverage:clap@{name}", tunes),
            ("exemplars", "facets", name, "--encoder=clap"),
        ):
            message = refused(*arguments)
            assert f"'{name}' is installed" in message
    assert "captions.txt" in message
    assert "unknown exemplar set" in refused("exemplars", "facets", "nothing", "--encoder", "clap")
    assert "unknown encoder" in refused("exemplars", "facets", "mine", "--encoder", "nothing")


def test_the_command_that_the_refusal_names_for_an_installed_text_set_works(rows: Rows) -> None:
    captions = load_registry().exemplar_set("descriptions").path / "captions.txt"
    rows("exemplars", "add", "descriptions-mine", captions)
    assert len(rows("exemplars", "facets", "descriptions-mine", "--encoder", "clap")) == 8
    assert compose("facet-coverage:clap@descriptions-mine").exemplar_set is not None


def test_stale_facets_are_refused_and_found(
    tunes: Path, tmp_path: Path, rows: Rows, dragon: Dragon, refused: Refused
) -> None:
    assert rows("exemplars", "check", "mine") == []
    rows("exemplars", "remove", "mine", tunes / "fast0.wav")
    remedy = "make them again: dragon exemplars facets mine --encoder clap --count 2"
    assert remedy in refused("score", "facet-coverage:clap@mine", tunes)
    checked = dragon("exemplars", "check", "mine", "--json")
    assert checked.exit_code == 2
    ((fault,),) = [json.loads(checked.stdout)]
    assert fault["what"] == "clap.facets"
    assert remedy in fault["fault"]
    rows("exemplars", "add", "mine", "--encoder", "chroma")
    assert remedy in refused("exemplars", "export", "mine", tmp_path / "mine.zip")
    slow, _ = rows("exemplars", "facets", "mine", "--encoder", "clap", "--count", 2)
    assert slow["share"] == pytest.approx(6 / 8)
    assert rows("exemplars", "check", "mine") == []


def test_facets_of_another_encoder_are_refused(tunes: Path, sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tunes.is_dir()
    load_registry.cache_clear()
    registry = load_registry()
    monkeypatch.setattr(registry.build_encoder("clap"), "identity", "another")
    made_with = describe_facets(sets / "mine" / "clap.facets").identity
    with pytest.raises(DragonError, match=f"identity '{made_with}' .* it is 'another'; make them again: dragon"):
        registry.facets("mine", "clap", torch.device("cpu"))


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}"])
def test_a_broken_file_is_named(content: bytes, tunes: Path, sets: Path, refused: Refused, dragon: Dragon) -> None:
    (sets / "mine" / "clap.facets").write_bytes(content)
    assert re.search(r"clap\.facets' .*; remove this file", refused("score", "facet-coverage:clap@mine", tunes))
    assert dragon("exemplars", "check", "mine").exit_code == 2
    assert dragon("list", "rewards").exit_code == 0


def test_a_cut_file_is_named(tunes: Path, sets: Path, refused: Refused) -> None:
    path = sets / "mine" / "clap.facets"
    path.write_bytes(path.read_bytes()[:-8])
    assert "clap.facets' is damaged" in refused("score", "facet-coverage:clap@mine", tunes)


def test_an_exported_set_keeps_its_facets_and_names_no_files(
    tunes: Path, sets: Path, tmp_path: Path, rows: Rows, refused: Refused
) -> None:
    before = rows("score", "facet-coverage:clap@mine", tunes)
    assert "no statistics yet" in refused("exemplars", "export", "mine", tmp_path / "mine.zip")
    rows("exemplars", "add", "mine", "--encoder", "chroma")
    rows("exemplars", "export", "mine", tmp_path / "mine.zip")
    content = (tmp_path / "mine.zip").read_bytes()
    assert not any(secret in content for secret in (str(tmp_path).encode(), b"slow0", b"fast0"))
    clips = shutil.move(tunes, tmp_path / "clips")
    shutil.rmtree(sets)
    assert rows("exemplars", "import", tmp_path / "mine.zip")[0]["facets"] == ["clap"]
    after = rows("score", "facet-coverage:clap@mine", clips)
    assert [row["value"] for row in after] == [row["value"] for row in before]
    assert rows("exemplars", "check", "mine") == []
    assert "no embeddings for encoder 'clap', and files" in refused(
        "exemplars", "facets", "mine", "--encoder", "clap", "--count", 2
    )


def test_foreign_facets_are_not_imported(tunes: Path, sets: Path, tmp_path: Path, rows: Rows, refused: Refused) -> None:
    assert tunes.is_dir()
    rows("exemplars", "add", "mine", "--encoder", "chroma")
    rows("exemplars", "export", "mine", tmp_path / "mine.zip")
    facets, description = load_facets(sets / "mine" / "clap.facets")

    def forged(items: str, captions: tuple[str, ...]) -> bytes:
        first, *rest = description.facets
        changed = (type(first)(first.share, first.spread, captions, first.examples), *rest)
        write_facets(tmp_path / "forged", facets, type(description)(description.identity, items, changed))
        return (tmp_path / "forged").read_bytes()

    wrong = {
        "contradicts itself: clap.facets": forged("0" * 64, ("a jig",)),
        "has a caption that is no line of text": forged(description.items, ("\x1b[2J",)),
        "clap.facets' is cut off": b"\x80\x04.",
    }
    for reason, content in wrong.items():

        def change(members: Members, content: bytes = content) -> None:
            members["clap.facets"] = content
            rehash(members)

        archive = repack(tmp_path / "mine.zip", tmp_path / "wrong.zip", change)
        assert reason in refused("exemplars", "import", archive, "--name", "new")


def test_listing_rewards_with_facets_imports_nothing_heavy(tunes: Path) -> None:
    assert tunes.is_dir()
    for arguments in (["list", "rewards"], ["exemplars", "show", "mine"]):
        done = subprocess.run([sys.executable, "-c", LIGHT, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "clap" in done.stdout


def test_the_conformance_kit_checks_the_reduction_with_facets() -> None:
    found = [check for check in checks("dragon-rewards") if check.part == "reduction facet-coverage"]
    assert {"subsets", "reference matters", "direction"} <= {check.name for check in found}
    for check in found:
        check.run()
