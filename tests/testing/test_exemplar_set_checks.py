"""Every check of exemplar sets catches a set that breaks its promise; sets that keep all of them pass."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.faulty_parts import DIM, Ear, TwoTower, checks_of, encoder, exemplar_set, registry_of

from dragon_rewards.exemplars import MANIFEST, Manifest, content_hash, load_exemplar_set, read_manifest
from dragon_rewards.protocols import Modality
from dragon_rewards.testing import EXEMPLAR_SET, TEXT_SET

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.protocols import EncoderInfo, ExemplarSetInfo


def unlicensed(folder: Path) -> ExemplarSetInfo:
    return exemplar_set(folder, licence="")


def empty(folder: Path) -> ExemplarSetInfo:
    return exemplar_set(folder, count=0, captions=[])


def of_unknown_provenance(folder: Path) -> ExemplarSetInfo:
    exemplar_set(folder)
    return rewrite(folder, provenance="")


def told_otherwise(folder: Path) -> ExemplarSetInfo:
    return replace(exemplar_set(folder), count=7)


def without_manifest(folder: Path) -> ExemplarSetInfo:
    info = exemplar_set(folder)
    (folder / MANIFEST).unlink()
    return info


def edited(folder: Path) -> ExemplarSetInfo:
    info = exemplar_set(folder)
    (folder / "captions.txt").write_text("another caption\n", encoding="utf-8")
    return info


def half_captioned(folder: Path) -> ExemplarSetInfo:
    return exemplar_set(folder, captions=["a jig", "an air"])


def without_statistics(folder: Path) -> ExemplarSetInfo:
    exemplar_set(folder)
    (folder / "ear.safetensors").unlink()
    return rewrite(folder)


def lopsided(folder: Path) -> ExemplarSetInfo:
    return with_covariance(folder, lambda covariance: covariance.triu())


def indefinite(folder: Path) -> ExemplarSetInfo:
    return with_covariance(folder, lambda covariance: covariance - 0.1 * torch.eye(DIM).double())


def wider(folder: Path) -> ExemplarSetInfo:
    wide = {"mean": torch.zeros(9).double(), "covariance": torch.eye(9).double(), "count": torch.tensor(8)}
    return with_statistics(folder, wide, Ear.identity)


def of_another_identity(folder: Path) -> ExemplarSetInfo:
    exemplar_set(folder)
    return with_statistics(folder, load_file(folder / "ear.safetensors"), "ear-0")


def of_other_captions(folder: Path) -> ExemplarSetInfo:
    exemplar_set(folder, Modality.TEXT)
    other = {"mean": torch.zeros(DIM).double(), "covariance": torch.eye(DIM).double(), "count": torch.tensor(12)}
    return with_statistics(folder, other, Ear.identity)


def with_covariance(folder: Path, change: Callable[[Tensor], Tensor]) -> ExemplarSetInfo:
    exemplar_set(folder)
    stored = load_file(folder / "ear.safetensors")
    changed = {**stored, "covariance": change(stored["covariance"]).contiguous()}
    return with_statistics(folder, changed, Ear.identity)


def with_statistics(folder: Path, tensors: dict[str, Tensor], identity: str) -> ExemplarSetInfo:
    if not folder.exists():
        exemplar_set(folder)
    save_file(tensors, folder / "ear.safetensors", metadata={"identity": identity})
    return rewrite(folder)


def rewrite(folder: Path, **changes: str) -> ExemplarSetInfo:
    """The manifest anew, with the hash of what is in the folder."""
    manifest: Manifest = replace(read_manifest(folder), sha256=content_hash(folder))
    (folder / MANIFEST).write_text(json.dumps(vars(manifest) | changes), encoding="utf-8")
    return load_exemplar_set(folder)


WRONG = [
    ("facts", "licence", unlicensed),
    ("facts", "count 0", empty),
    ("facts", "provenance", of_unknown_provenance),
    ("manifest", "count=7", told_otherwise),
    ("manifest", "is no manifest", without_manifest),
    ("content hash", "SHA-256", edited),
    ("count", "2 captions", half_captioned),
    ("statistics", "no .safetensors file", without_statistics),
    ("statistics", "is symmetric, and in this one", lopsided),
    ("statistics", "has no negative eigenvalue, and the eigenvalues of this one go from -", indefinite),
    ("identities", "dimension of encoder 'ear'", wider),
    ("identities", "ear-0", of_another_identity),
    ("captions", "equal the statistics of the captions", of_other_captions),
]
ENCODERS = [encoder(TwoTower)]


@pytest.mark.parametrize(("check", "message", "make"), WRONG, ids=[make.__name__ for _, _, make in WRONG])
def test_a_wrong_set_is_caught(
    check: str, message: str, make: Callable[[Path], ExemplarSetInfo], tmp_path: Path
) -> None:
    found = checks_of("exemplar set", registry_of(ENCODERS, [make(tmp_path / "set")]))
    with pytest.raises(AssertionError) as caught:
        found[check].run()
    assert message in str(caught.value)


def test_every_check_has_a_wrong_set() -> None:
    assert {check for check, _, _ in WRONG} == set(EXEMPLAR_SET + TEXT_SET)


def broken() -> None:
    raise OSError("no weights")


@pytest.mark.parametrize("modality", list(Modality))
@pytest.mark.parametrize("encoders", [[], ENCODERS, [encoder(broken)]], ids=["none", "built", "not built"])
def test_a_right_set_passes_every_check(tmp_path: Path, modality: Modality, encoders: list[EncoderInfo]) -> None:
    found = checks_of("exemplar set", registry_of(encoders, [exemplar_set(tmp_path / "set", modality)]))
    assert set(found) == set(EXEMPLAR_SET + (TEXT_SET if modality is Modality.TEXT else ()))
    for check in found.values():
        check.run()
