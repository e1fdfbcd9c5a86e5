"""`dragon exemplars judge`: sets of one's own against each other, what is refused, and that facets may be guesses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dragon_rewards.registry import load_registry
from dragon_train.cli.verbs.exemplars_judge import hears
from exemplars.test_user_facets import FAST, SLOW, melody

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Dragon, Refused, Rows


@pytest.fixture
def slow(tmp_path: Path, rows: Rows) -> str:
    """The sets `slow` and `fast`, of eight melodies each; the first is returned."""
    for name, kind in (("slow", SLOW), ("fast", FAST)):
        for seed in range(8):
            melody(tmp_path / name / f"{seed}.wav", seed, **kind)
        rows("exemplars", "add", name, tmp_path / name)
    return "slow"


def test_an_encoder_that_hears_the_difference_is_named(slow: str, dragon: Dragon, rows: Rows) -> None:
    options = ("exemplars", "judge", slow, "--against", "fast", "--encoder", "chroma")
    (row,) = rows(*options)
    assert (row["encoder"], row["hears"], row["tracks"]) == ("chroma", "yes", 8)
    assert row["auc"] > 0.9
    assert row["between"] > row["within"]
    printed = dragon(*options)
    last = printed.stdout.strip().splitlines()[-1]
    assert last == f"chroma ({row['auc']:.2f}) ranks tracks of 'slow' nearer to it than tracks of 'fast'."
    assert "48 clips" not in printed.stderr


def test_what_cannot_be_judged_is_refused_with_the_remedy(
    slow: str, tmp_path: Path, rows: Rows, refused: Refused
) -> None:
    few = [tmp_path / "slow" / f"{seed}.wav" for seed in range(3)]
    rows("exemplars", "add", "few", *few)
    chroma = ("--encoder", "chroma")
    assert "'few' has 3 tracks, and at least 8 are needed" in refused("exemplars", "judge", "few", *chroma)
    assert "'few' has 3 tracks" in refused("exemplars", "judge", slow, "--against", "few", *chroma)
    assert "cannot be told from itself" in refused("exemplars", "judge", slow, "--against", slow)
    assert "'descriptions' is text" in refused("exemplars", "judge", slow, "--against", "descriptions", *chroma)
    assert "unknown exemplar set 'nope'" in refused("exemplars", "judge", "nope", *chroma)
    assert "unknown encoder 'nope'" in refused("exemplars", "judge", slow, "--encoder", "nope")
    rows("exemplars", "add", slow, *chroma)
    rows("exemplars", "export", slow, tmp_path / "slow.zip")
    rows("exemplars", "import", tmp_path / "slow.zip", "--name", "theirs")
    assert "'theirs' stores no audio" in refused("exemplars", "judge", "theirs", *chroma)
    (tmp_path / "slow" / "3.wav").unlink()
    assert "is missing; put it back" in refused("exemplars", "judge", slow, "--against", "fast", *chroma)


def test_an_encoder_whose_frames_have_no_distance_is_not_judged() -> None:
    clap = load_registry().encoder("clap")
    assert hears(clap)
    assert not hears(replace(clap, reductions=frozenset({"tag-agreement"})))
    assert hears(replace(clap, reductions=frozenset({"per-song-fad"})))


def test_captions_by_an_encoder_that_knows_other_music_are_called_guesses(slow: str, dragon: Dragon) -> None:
    made = dragon("exemplars", "facets", slow, "--encoder", "clap", "--count", 2)
    assert "the captions are guesses: encoder 'clap' was trained on traditional music rendered" in made.stderr
    assert "guesses" not in dragon("exemplars", "facets", slow, "--encoder", "chroma", "--count", 2).stderr
