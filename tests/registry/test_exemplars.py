"""Exemplar sets on disk: what is written is read back, and statistics of another encoder are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from support.parts import CAPTIONS, Projection, TwoTower, encoder_info, make_set, noise

from dragon_rewards import exemplars
from dragon_rewards.builtin import shipped_sets
from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import Gaussian
from dragon_rewards.protocols import ExemplarSetInfo, Modality
from dragon_rewards.storage.tensor_files import write_tensors

if TYPE_CHECKING:
    from dragon_rewards.registry import Registry

EAR, TWO = encoder_info("ear", Projection), encoder_info("two", TwoTower)
SHIPPED = sorted(shipped_sets().glob("*/manifest.json"))


def test_a_written_set_is_read_back(tmp_path: Path) -> None:
    info = make_set(tmp_path / "tunes", Modality.AUDIO, {"ear": Projection()})
    assert info == ExemplarSetInfo("tunes", Modality.AUDIO, 12, "CC0", "for tests", tmp_path / "tunes")
    assert exemplars.captions(info) == CAPTIONS
    assert exemplars.encoders_of(info) == ["ear"]
    assert exemplars.read_manifest(info.path).provenance == "made by a test"


def test_stored_statistics_are_those_of_the_audio(tmp_path: Path) -> None:
    encoder = Projection()
    stored = exemplars.reference(make_set(tmp_path / "tunes", Modality.AUDIO, {"ear": encoder}), EAR, encoder)
    fitted = Gaussian.fit(encoder.encode_audio(noise(12, seed=1)).flatten(0, 1))
    torch.testing.assert_close(stored.mean, fitted.mean)
    torch.testing.assert_close(stored.covariance, fitted.covariance)


def test_a_text_set_without_statistics_is_encoded(tmp_path: Path) -> None:
    info = make_set(tmp_path / "words", Modality.TEXT, {})
    encoded = exemplars.reference(info, TWO, TwoTower())
    torch.testing.assert_close(encoded.mean, Gaussian.fit(TwoTower().encode_text(CAPTIONS)).mean)


def test_statistics_of_another_identity_are_refused(tmp_path: Path) -> None:
    info = make_set(tmp_path / "tunes", Modality.AUDIO, {"ear": Projection()})
    changed = Projection()
    changed.identity = "projection-2"
    with pytest.raises(DragonError, match=r"'tunes' for encoder 'ear' .* 'projection-1', .* 'projection-2'"):
        exemplars.reference(info, EAR, changed)


def test_an_audio_set_names_the_encoders_it_serves(tmp_path: Path) -> None:
    info = make_set(tmp_path / "tunes", Modality.AUDIO, {"ear": Projection()})
    with pytest.raises(DragonError, match="'tunes' has no statistics for encoder 'two', only for ear"):
        exemplars.reference(info, TWO, TwoTower())


def brought(folder: Path, identity: str) -> Path:
    """Statistics of `tunes` as a package brings them: of other music than that of `make_set`."""
    folder.mkdir()
    gaussian = Gaussian.fit(Projection().encode_audio(noise(12, seed=2)).flatten(0, 1))
    write_tensors(folder / "tunes.safetensors", gaussian.to_tensors(), {"identity": identity})
    return folder


def test_the_package_of_an_encoder_brings_statistics(tmp_path: Path) -> None:
    info = make_set(tmp_path / "tunes", Modality.AUDIO, {})
    bringing = replace(EAR, statistics=brought(tmp_path / "brought", Projection.identity))
    assert not exemplars.serves(info, EAR)
    assert exemplars.serves(info, bringing)
    found = exemplars.reference(info, bringing, Projection())
    expected = Gaussian.fit(Projection().encode_audio(noise(12, seed=2)).flatten(0, 1))
    torch.testing.assert_close(found.mean, expected.mean)


def test_statistics_of_the_set_itself_come_first(tmp_path: Path) -> None:
    info = make_set(tmp_path / "tunes", Modality.AUDIO, {"ear": Projection()})
    bringing = replace(EAR, statistics=brought(tmp_path / "brought", Projection.identity))
    found = exemplars.reference(info, bringing, Projection())
    torch.testing.assert_close(found.mean, exemplars.reference(info, EAR, Projection()).mean)


def test_statistics_that_were_brought_for_another_identity_are_refused(tmp_path: Path) -> None:
    info = make_set(tmp_path / "tunes", Modality.AUDIO, {})
    bringing = replace(EAR, statistics=brought(tmp_path / "brought", "projection-0"))
    with pytest.raises(DragonError, match=r"'tunes' for encoder 'ear' .* 'projection-0', .* 'projection-1'"):
        exemplars.reference(info, bringing, Projection())


@pytest.mark.parametrize("changed", ["captions.txt", "ear.safetensors"])
def test_the_hash_covers_captions_and_statistics(tmp_path: Path, changed: str) -> None:
    info = make_set(tmp_path / "tunes", Modality.AUDIO, {"ear": Projection()})
    assert exemplars.content_hash(info.path) == exemplars.read_manifest(info.path).sha256
    with (info.path / changed).open("ab") as file:
        file.write(b"x")
    assert exemplars.content_hash(info.path) != exemplars.read_manifest(info.path).sha256


def test_writing_again_leaves_nothing_of_the_old_set(tmp_path: Path) -> None:
    make_set(tmp_path / "tunes", Modality.AUDIO, {"ear": Projection()})
    assert exemplars.encoders_of(make_set(tmp_path / "tunes", Modality.AUDIO, {"two": TwoTower()})) == ["two"]


@pytest.mark.parametrize("caption", ["", "two\nlines", "ends\n"])
def test_a_caption_is_one_line(registry: Registry, caption: str) -> None:
    info = replace(registry.exemplar_set("words"), count=1)
    with pytest.raises(DragonError, match="a caption is one line"):
        exemplars.write_exemplar_set(info, "", [caption], {})


def test_a_text_set_counts_its_captions(registry: Registry) -> None:
    with pytest.raises(DragonError, match="counts 12 examples but has 1 caption"):
        exemplars.write_exemplar_set(registry.exemplar_set("words"), "", ["a jig"], {})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"modality": "video"}, "Invalid enum value 'video'"),
        ({"count": "12"}, "Expected `int`, got `str`"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_path(registry: Registry, change: dict[str, str], reason: str) -> None:
    folder = registry.exemplar_set("tunes").path
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").write_text(json.dumps(manifest | change), encoding="utf-8")
    with pytest.raises(DragonError, match=f"tunes/manifest.json is no manifest .*{reason}"):
        exemplars.load_exemplar_set(folder)


@pytest.mark.parametrize("content", ["", "[]", "null", "{"])
def test_a_broken_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(DragonError, match="is no manifest"):
        exemplars.load_exemplar_set(tmp_path)


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DragonError, match="No such file"):
        exemplars.load_exemplar_set(tmp_path)


@pytest.mark.parametrize("manifest", SHIPPED, ids=lambda path: path.parent.name)
def test_shipped_sets_are_what_their_manifests_say(manifest: Path) -> None:
    folder = manifest.parent
    recorded = exemplars.read_manifest(folder)
    assert recorded.sha256 == exemplars.content_hash(folder)
    assert recorded.name == folder.name
    assert recorded.licence
    assert recorded.provenance
    if recorded.modality is Modality.TEXT:
        assert recorded.count == len(exemplars.captions(exemplars.load_exemplar_set(folder)))
