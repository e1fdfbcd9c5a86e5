"""Scores of files in shards: what `dragon score` gives of the same files at once, whatever is kept of a shard."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.metric_cases import seeds, songs, thorough

from dragon_rewards import compose, load_registry
from dragon_rewards.errors import AudioError, TooFewClipsError
from dragon_rewards.media.cache import open_cache, work_folder
from dragon_rewards.metrics import Facets, Gaussian, Points
from dragon_rewards.metrics.gaussian import Moments
from dragon_rewards.protocols import Embeddings, ReferenceKind
from dragon_rewards.scoring import score_files
from dragon_rewards.sharded import score_in_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from support.cli import Refused, Rows

    from dragon_rewards.storage.shards import Shard

CPU = torch.device("cpu")
REWARDS = {  # what is kept of a shard
    "per-song-fad:logmel@airs": "values",
    "clap-score:clap": "values",
    "dataset-fad:logmel@airs": "scatter",
    "vendi:logmel": "frames",
    "kad:logmel@airs": "frames",
    "fad-infinity:logmel@airs": "frames",
    "best-of-4-clap-score:clap": "prompts",
}
POOLED = [name for name, info in load_registry().reductions.items() if info.pooled]


def here(_doing: str, shards: Sequence[Shard[Any]], function: Callable[..., None], *arguments: object) -> None:
    """Compute shards one after another in this process."""
    for shard in shards:
        if not shard.done:
            function(shard.folder, shard.sources, *arguments, "cpu")


def in_shards(reward: str, *places: Path, skip_bad: bool = False) -> list[dict[str, Any]]:
    return score_in_shards(compose(reward), places, None, here, CPU, skip_bad=skip_bad)


def at_once(reward: str, *places: Path) -> list[dict[str, Any]]:
    return score_files(compose(reward), places, None, lambda _done, _of: None, open_cache(), CPU)


@pytest.fixture(name="songs_with_prompts")
def prompted(music: Path, sets: Path) -> Path:
    assert sets.name == "sets"
    for file in music.iterdir():
        file.with_suffix(".txt").write_text("a slow air" if file.stem in "0123" else "a fast jig on the fiddle")
    return music


@pytest.mark.parametrize("reward", REWARDS)
def test_shards_score_what_all_files_at_once_do(reward: str, songs_with_prompts: Path) -> None:
    whole, parts = at_once(reward, songs_with_prompts), in_shards(reward, songs_with_prompts)
    assert [row["value"] for row in parts] == pytest.approx([row["value"] for row in whole], rel=1e-6)
    assert [{**row, "value": 0} for row in parts] == [{**row, "value": 0} for row in whole]
    assert list(work_folder().iterdir()) == []


@pytest.mark.parametrize(("reward", "kept"), REWARDS.items())
def test_no_more_is_kept_of_a_shard_than_its_reward_needs(reward: str, kept: str, songs_with_prompts: Path) -> None:
    from dragon_rewards.sharded import part_of

    clips = [(file, "a jig" if "clap" in reward else None) for file in sorted(songs_with_prompts.glob("*.wav"))]
    tensors = part_of(clips, compose(reward), None, CPU).tensors
    assert kept in tensors
    assert tensors.get("values", torch.zeros(8)).shape == (8,)
    if reward.startswith(("vendi", "kad")):
        assert tensors["frames"].shape == (8, 64)


@thorough
@given(seeds, st.lists(st.integers(1, 9), min_size=6, max_size=9))
def test_pooled_reductions_see_nothing_but_means(seed: int, lengths: list[int]) -> None:
    frames = songs(seed, lengths, 3)
    means = [clip.mean(0, keepdim=True) for clip in frames]
    others = torch.stack([clip.mean(0) for clip in songs(seed + 100, [4] * 8, 3)])
    for name in POOLED:
        info, reduction = load_registry().reduction(name), load_registry().build_reduction(name)
        reference = Facets.fit(others, 2) if info.reference is ReferenceKind.FACETS else Points(others)
        given_one = reference if info.needs_reference else None
        of_frames, of_means = (reduction(Embeddings(each), given_one) for each in (frames, means))
        assert float(of_means) == pytest.approx(float(of_frames), rel=1e-9, abs=1e-9), name


@thorough
@given(seeds, st.lists(st.integers(5, 30), min_size=2, max_size=6))
def test_the_distance_of_merged_moments_is_the_distance_of_the_frames(seed: int, lengths: list[int]) -> None:
    frames, reference = songs(seed, lengths, 3), Gaussian.fit(torch.cat(songs(seed + 100, [40], 3)))
    reduction: Any = load_registry().build_reduction("dataset-fad")
    total = Moments.of(frames[0])
    for clip in frames[1:]:
        total += Moments.of(clip)
    room = 1e-9 * float(total.scatter.trace() + reference.covariance.trace())
    found, expected = reduction.of_moments(total, reference), reduction(Embeddings(frames), reference)
    assert float(found) == pytest.approx(float(expected), rel=1e-9, abs=room)


def test_each_folder_is_a_set(music: Path, sets: Path) -> None:
    other = sets.parent / "other"
    shutil.copytree(music, other)
    (other / "0.wav").unlink()
    rows = in_shards("dataset-fad:logmel@airs", music, other)
    assert [(row["path"], row["clips"]) for row in rows] == [(str(music), 9), (str(other), 8)]
    assert [row["value"] for row in rows] == pytest.approx(
        [row["value"] for row in at_once("dataset-fad:logmel@airs", music, other)], rel=1e-9
    )


def test_damaged_files_end_nothing_are_listed_together_and_left_out_when_told_to(
    music: Path, sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sets.name == "sets"
    whole = at_once("vendi:logmel", *sorted(music.glob("[!25].*")))
    soundfile.write(music / "2.wav", np.full(16_000, np.nan), 16_000, subtype="FLOAT")  # its header is sound
    soundfile.write(music / "5.wav", np.zeros(16_000), 16_000)
    with pytest.raises(AudioError, match=r"2 files cannot be judged(.|\n)*2.wav' holds(.|\n)*5.wav' is silent"):
        in_shards("vendi:logmel", music)
    stamps = {path: path.stat().st_mtime_ns for path in work_folder().glob("*/result")}
    assert len(stamps) == 5
    capsys.readouterr()
    (row,) = in_shards("vendi:logmel", music, skip_bad=True)
    assert row["clips"] == 7
    assert row["value"] == pytest.approx(whole[0]["value"], rel=1e-6)
    told = capsys.readouterr().err
    assert "left out 2 of 9 files" in told


def test_what_a_header_tells_is_refused_before_anything_is_encoded(music: Path, sets: Path) -> None:
    assert sets.name == "sets"
    (music / "7.wav").write_text("no audio")
    with pytest.raises(AudioError, match=r"7\.wav' cannot be read as audio"):
        in_shards("vendi:logmel", music)
    assert not work_folder().exists()
    for file in music.glob("[!78]*"):
        file.unlink()
    with pytest.raises(TooFewClipsError):
        in_shards("vendi:logmel", music, skip_bad=True)
    (music / "8.flac").write_text("no audio")
    with pytest.raises(AudioError, match="none of 2 file"):
        in_shards("vendi:logmel", music, skip_bad=True)


def test_a_machine_without_the_files_is_told_from_damage(music: Path, sets: Path) -> None:
    assert sets.name == "sets"

    def elsewhere(_doing: str, shards: Sequence[Shard[Any]], function: Callable[..., None], *arguments: object) -> None:
        music.rename(music.with_name("moved"))
        function(shards[0].folder, shards[0].sources, *arguments, "cpu")

    with pytest.raises(Exception, match="share the folder with all machines, at the same path"):
        score_in_shards(compose("vendi:logmel"), [music], None, elsewhere, CPU, skip_bad=False)


def test_options_of_a_launcher_go_with_one(music: Path, refused: Refused, rows: Rows) -> None:
    assert "go with --launcher" in refused("score", "vendi:logmel", music, "--workers", "2")
    assert "go with --launcher" in refused("exemplars", "add", "mine", music, "--gpus", "1")
    assert "unknown launcher 'slurm'" in refused("score", "vendi:logmel", music, "--launcher", "slurm")
    assert rows("exemplars", "list") == []
