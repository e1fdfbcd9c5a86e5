"""Points: one embedding of each example; kept with a set, made again when it changes, refused where there are none."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import torch
from support.sounds import write_tone

from dragon_rewards import ComposeError, DragonError, compose, load_registry
from dragon_rewards.compute.devices import CPU
from dragon_rewards.exemplars import captions, read_manifest
from dragon_rewards.exemplars.points import points_of
from dragon_rewards.metrics import kernel_audio_distance, prdc
from dragon_rewards.storage.tensor_files import write_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Dragon, Refused, Rows

    from dragon_rewards.registry import Registry

SETS = ("airs", "tunebook")
ENCODERS = ("vae", "clap", "spr", "logmel", "chroma")


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("name", SETS)
def test_shipped_points_are_of_the_clips_that_the_statistics_are_of(name: str, encoder: str) -> None:
    """Clips have one length, so that the mean of their means is the mean of all frames."""
    registry = load_registry()
    points, gaussian = registry.points(name, encoder, CPU), registry.reference(name, encoder, CPU)
    assert points.embeddings.shape == (1024, gaussian.dim)
    off = (points.embeddings.mean(0) - gaussian.mean).abs() / gaussian.covariance.diagonal().sqrt()
    assert off.max() < 1e-3  # of a deviation: they are kept in half precision
    spread = points.embeddings.var(0).sum() / gaussian.covariance.trace()
    assert 0.05 < spread < 1  # the rest is within clips


def fresh() -> Registry:
    """A registry that has kept nothing yet."""
    load_registry.cache_clear()
    return load_registry()


def means(path: Path, encoder: str) -> torch.Tensor:
    """The mean frame of each file of a folder, in order."""
    reward = compose(f"vendi:{encoder}")
    from dragon_rewards.encoding import EncodingJob, Files, encode_files

    job = EncodingJob([reward], CPU, None, lambda _done: None)
    found = encode_files(job, Files(sorted(path.rglob("*.*"))))
    return torch.stack([frames.mean(0) for frames in reward.embeddings(found).frames])


@pytest.fixture
def mine(music: Path, rows: Rows) -> Path:
    """The folder of the set `mine`."""
    (added,) = rows("exemplars", "add", "mine", music)
    assert added["examples"] == 4
    return music


def test_points_of_audio_are_made_once_and_again_for_other_items(mine: Path, rows: Rows, sets: Path) -> None:
    path = sets / "mine" / "chroma.points"
    (first,) = rows("score", "kad:chroma@mine", mine)
    made = path.read_bytes()
    points = fresh().points("mine", "chroma", CPU)
    assert path.read_bytes() == made
    expected = means(mine, "chroma")
    order = points.embeddings[:, 0].argsort(), expected.double()[:, 0].argsort()
    assert torch.allclose(points.embeddings[order[0]], expected.double()[order[1]], atol=1e-6)
    assert first["value"] == pytest.approx(float(kernel_audio_distance(expected, expected)), rel=1e-5)
    write_tone(mine / "e.wav", 2.0, 16_000, seed=9)
    rows("exemplars", "add", "mine", mine)
    assert len(fresh().points("mine", "chroma", CPU).embeddings) == 5
    assert path.read_bytes() != made


def test_every_reduction_of_points_judges_folders_against_a_set_of_ones_own(
    tmp_path: Path, rows: Rows, refused: Refused
) -> None:
    for seed in range(8):
        write_tone(tmp_path / "own" / f"{seed}.wav", 1.5, 16_000, seed=seed)
        write_tone(tmp_path / "other" / f"{seed}.wav", 1.5, 16_000, seed=seed + 50)
    rows("exemplars", "add", "own", tmp_path / "own")
    x, y = (means(tmp_path / name, "logmel") for name in ("other", "own"))
    found = prdc(x, y)
    for name in ("precision", "recall", "density", "coverage"):
        row, itself = rows("score", f"{name}:logmel@own", tmp_path / "other", tmp_path / "own")
        assert (row["path"], itself["path"]) == (str(tmp_path / "other"), str(tmp_path / "own"))
        assert row["value"] == pytest.approx(getattr(found, name), abs=1e-9), name
        assert (row["better"], row["clips"]) == ("higher", 8)
        assert itself["value"] >= 1 or name == "density"
    few = tmp_path / "few"
    for seed in range(5):
        write_tone(few / f"{seed}.wav", 1.5, 16_000, seed=seed)
    assert "judges at least 6 clips at once, and got 5" in refused("score", "recall:logmel@own", few)
    rows("exemplars", "add", "few", few)
    assert "k = 5 does not fit the reference of 5 frames" in refused("score", "precision:logmel@few", few)


def test_points_of_captions_are_their_embeddings() -> None:
    registry = load_registry()
    found = registry.points("descriptions", "clap", CPU).embeddings
    texts = captions(registry.exemplar_set("descriptions"))
    expected = registry.build_encoder("clap").encode_text(texts)  # type: ignore[attr-defined]
    assert torch.allclose(found, expected.double(), atol=1e-6)


def test_a_set_without_audio_or_points_is_refused_with_what_it_has(
    mine: Path, tmp_path: Path, rows: Rows, refused: Refused
) -> None:
    rows("exemplars", "add", "mine", "--encoder", "chroma")
    rows("exemplars", "export", "mine", tmp_path / "mine.zip")
    rows("exemplars", "import", tmp_path / "mine.zip", "--name", "theirs")
    assert "is here without its audio" in refused("score", "kad:chroma@theirs", mine)
    assert rows("score", "dataset-fad:chroma@theirs", mine)


def test_points_of_something_else_are_refused_and_damage_is_found(tmp_path: Path) -> None:
    registry = load_registry()
    own = registry.exemplar_set("airs")
    folder = shutil.copytree(own.path, tmp_path / "airs")
    info = own.__class__(own.name, own.modality, own.count, own.licence, own.summary, folder)
    encoder = registry.build_encoder("chroma")
    marks = {"identity": encoder.identity, "items": read_manifest(folder).sha256}
    for wrong in ({**marks, "identity": "chroma-0"}, {**marks, "items": "0" * 64}):
        write_tensors(folder / "chroma.points", {"points": torch.zeros(3, 12)}, wrong)
        with pytest.raises(DragonError, match="is not of what exemplar set 'airs' holds, or not of this version"):
            points_of(info, registry.encoder("chroma"), encoder)
    write_tensors(folder / "chroma.points", {"points": torch.zeros(1, 12)}, marks)
    with pytest.raises(DragonError, match=r"holds no points of a set .* has 1 frame"):
        points_of(info, registry.encoder("chroma"), encoder)
    content = bytearray((own.path / "chroma.points").read_bytes())
    content[-1] ^= 1
    (folder / "chroma.points").write_bytes(content)
    with pytest.raises(DragonError, match="is damaged"):
        points_of(info, registry.encoder("chroma"), encoder)


def test_an_encoder_without_shipped_points_is_refused_by_name() -> None:
    registry = load_registry()
    if "musicnn" not in registry.encoders:
        pytest.skip("musicnn is not installed")
    with pytest.raises(ComposeError, match="for chroma, clap, logmel, spr, vae, not for encoder 'musicnn'"):
        compose("kad:musicnn@airs")


def test_each_of_several_folders_is_a_set_and_files_make_all_one(mine: Path, dragon: Dragon, rows: Rows) -> None:
    a, b = mine / "a.wav", mine / "b.flac"
    first, rest = rows("score", "vendi:chroma", mine, mine / "deep")
    assert [(row["path"], row["clips"]) for row in (first, rest)] == [(str(mine), 4), (str(mine / "deep"), 2)]
    assert first["value"] == rows("score", "vendi:chroma", mine)[0]["value"]
    (together,) = rows("score", "vendi:chroma", a, b)
    assert together["clips"] == 2
    (one,) = rows("score", "vendi:chroma", a, b, mine / "deep")
    assert (one["clips"], one["value"]) == (4, pytest.approx(first["value"]))
    assert str(mine / "deep") in dragon("score", "vendi:chroma", mine, mine / "deep", "--wide").stdout
