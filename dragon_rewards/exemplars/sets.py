"""Exemplar sets on disk: a folder of `manifest.json`, `captions.txt` and `<encoder>.safetensors` statistics.

A user's set has a file of items instead of `captions.txt`, and its statistics are made when they are first needed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar

from dragon_rewards.errors import DragonError
from dragon_rewards.exemplars.contents import read_contents
from dragon_rewards.exemplars.item import items_hash, items_name, read_items
from dragon_rewards.exemplars.places import made_statistics
from dragon_rewards.names import check_name
from dragon_rewards.protocols import ExemplarSetInfo, Modality, TextEncoder
from dragon_rewards.storage.decoding import Count, Hash, read_bytes, read_json
from dragon_rewards.storage.files import write_bytes, write_text
from dragon_rewards.storage.table_formats import lines_of
from dragon_rewards.storage.tensor_files import check_tensors
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.exemplars.contents import Contents
    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.metrics import Gaussian
    from dragon_rewards.protocols import EncoderInfo

T = TypeVar("T")
MANIFEST = "manifest.json"
CAPTIONS = "captions.txt"
STATISTICS = {
    "mean": ("float", "dim"),
    "covariance": ("float", "dim", "dim"),
    "count": ("int",),
    "factor": ("float", "dim", "dim"),
}
TEXT_BATCH = 256  # captions per pass of a text tower: bounds the memory of a long list


@dataclass(frozen=True)
class Manifest:
    """The contents of `manifest.json`.

    Attributes:
        name: the name of the set.
        modality: whether its examples are audio, images or texts.
        count: the number of its examples.
        licence: the licence of its contents.
        summary: a few words on what it holds.
        provenance: where its contents are from.
        sha256: the `content_hash` of the folder.
    """

    name: str
    modality: Modality
    count: Count
    licence: str
    summary: str
    provenance: str
    sha256: Hash


@dataclass(frozen=True)
class Statistics:
    """A set's Gaussian in an encoder's space, and the identity of the encoder that embedded the set."""

    gaussian: Gaussian
    identity: str


def read_manifest(folder: Path) -> Manifest:
    """Read and check `<folder>/manifest.json`.

    Raises:
        DragonError: the file is missing, or does not have exactly the fields of a manifest.
    """
    path = folder / MANIFEST
    try:
        manifest = read_json(path, Manifest, "restore it, or remove the set")
        check_name(manifest.name)
    except DragonError as error:
        raise DragonError(f"{path} is no manifest of an exemplar set: {error}") from error
    return manifest


def load_exemplar_set(folder: Path) -> ExemplarSetInfo:
    """Describe the exemplar set in `folder`, from its manifest alone.

    Raises:
        DragonError: the manifest is missing or wrong.
    """
    manifest = read_manifest(folder)
    return ExemplarSetInfo(
        name=manifest.name,
        modality=manifest.modality,
        count=manifest.count,
        licence=manifest.licence,
        summary=manifest.summary,
        path=folder,
    )


def items(info: ExemplarSetInfo) -> tuple[Item, ...]:
    """Return the examples of a user's set; none for an installed set, which keeps captions and statistics only.

    Raises:
        DragonError: the set is broken.
    """
    return () if is_installed(info) else _of_items(info, read_items)


def contents(info: ExemplarSetInfo) -> Contents | None:
    """Return what the examples of a user's set come to, without looking through them if it is known; otherwise None.

    Raises:
        DragonError: the set is broken.
    """
    return None if is_installed(info) else _of_items(info, read_contents)


def _of_items(info: ExemplarSetInfo, read: Callable[[Path], T]) -> T:
    manifest = read_manifest(info.path)
    try:
        return read(info.path / items_name(manifest.sha256))
    except DragonError:
        if read_manifest(info.path) == manifest:
            raise
        return _of_items(info, read)  # another process has changed the set meanwhile


def is_installed(info: ExemplarSetInfo) -> bool:
    """Return whether a set came with a package, and holds captions in the place of items."""
    return (info.path / CAPTIONS).is_file()


def has_files(info: ExemplarSetInfo) -> bool:
    """Return whether a set is a user's, and all its examples are files that were here when they were added."""
    found = contents(info)
    return found is not None and found.has_files


def captions(info: ExemplarSetInfo) -> list[str]:
    """Return the captions of a set, in order; examples without a caption are left out.

    Raises:
        DragonError: the set is broken.
    """
    if is_installed(info):
        return lines_of(_text(info.path / CAPTIONS))
    return [item.caption for item in items(info) if item.caption is not None]


def _text(path: Path) -> str:
    try:
        return read_bytes(path, "install the set again").decode("utf-8")
    except UnicodeDecodeError as error:
        raise DragonError(f"'{path}' cannot be read ({error}); install the set again") from error


def gaussian_of(tensors: Mapping[str, Tensor], where: str, remedy: str) -> Gaussian:
    """Return the Gaussian in the tensors of a file of statistics, which may hold other tensors, too.

    Raises:
        DragonError: tensors are missing or have other types or shapes, or make no Gaussian.
    """
    from dragon_rewards.metrics import Gaussian

    check_tensors(tensors, STATISTICS, where, remedy, optional=("factor",))
    try:
        return Gaussian.from_tensors(tensors)
    except (DragonError, RuntimeError) as error:  # torch raises RuntimeError if it cannot factorise
        raise DragonError(f"{where} holds no statistics ({error}); {remedy}") from error


def encoders_of(info: ExemplarSetInfo) -> list[str]:
    """Return the names of the spaces in which the set has statistics; most are named after their encoders."""
    return sorted(path.stem for path in info.path.glob("*.safetensors"))


def space_of(encoder: EncoderInfo) -> str:
    """Return the name of the encoder's space, under which sets keep statistics."""
    return encoder.space or encoder.name


def serves(info: ExemplarSetInfo, encoder: EncoderInfo) -> bool:
    """Return whether `reference` can give the set's Gaussian in this encoder's space."""
    if info.modality is Modality.TEXT:
        return Modality.TEXT in encoder.modalities or space_of(encoder) in encoders_of(info)
    if space_of(encoder) in encoders_of(info) or brought_statistics(info, encoder) is not None:
        return True
    return info.modality in encoder.modalities and has_files(info)


def brought_statistics(info: ExemplarSetInfo, encoder: EncoderInfo) -> Path | None:
    """Return the file of an installed audio set's statistics that the user made or the encoder's package contains.

    Without one it is None.
    """
    if info.modality is not Modality.AUDIO or not is_installed(info):
        return None
    made = made_statistics(info.name, space_of(encoder))
    brought = encoder.statistics and encoder.statistics / f"{info.name}.safetensors"
    return next((path for path in (made, brought) if path and path.is_file()), None)


def encode_texts(texts: Sequence[str], encoder: TextEncoder) -> Tensor:
    """Return the embeddings (texts, dim) of many texts, encoded 256 at a time and without gradient."""
    import torch

    with torch.no_grad():
        batches = [encoder.encode_text(texts[at : at + TEXT_BATCH]) for at in range(0, len(texts), TEXT_BATCH)]
    return torch.cat(batches)


def write_exemplar_set(
    info: ExemplarSetInfo, provenance: str, captions: Sequence[str], statistics: Mapping[str, Statistics]
) -> Manifest:
    """Write the folder `info.path`: captions, statistics by encoder name, and the manifest last.

    Raises:
        DragonError: the name is malformed, a caption spans several lines, or a text set does not have `info.count`
            captions.
    """
    check_name(info.name)
    _check_captions(info, captions)
    write_text(info.path / CAPTIONS, "".join(f"{caption}\n" for caption in captions))
    _write_statistics(info.path, statistics)
    manifest = Manifest(
        name=info.name,
        modality=info.modality,
        count=info.count,
        licence=info.licence,
        summary=info.summary,
        provenance=provenance,
        sha256=content_hash(info.path),
    )
    text = json.dumps(asdict(manifest), indent=2, ensure_ascii=False)
    write_text(info.path / MANIFEST, f"{text}\n")
    return manifest


def _check_captions(info: ExemplarSetInfo, captions: Sequence[str]) -> None:
    for caption in captions:
        if caption.splitlines() != [caption]:
            raise DragonError(f"exemplar set '{info.name}': a caption is one line of text, not {caption!r}")
    if info.modality is Modality.TEXT and info.count != len(captions):
        raise DragonError(
            f"text set '{info.name}' counts {counted(info.count, 'example')} but has "
            f"{counted(len(captions), 'caption')}"
        )


def _write_statistics(folder: Path, statistics: Mapping[str, Statistics]) -> None:
    from safetensors.torch import save

    for stale in folder.glob("*.safetensors"):
        stale.unlink()
    for encoder, made in statistics.items():
        content = save(made.gaussian.to_tensors(), metadata={"identity": made.identity})
        write_bytes(folder / f"{check_name(encoder)}.safetensors", content)


def content_hash(folder: Path) -> str:
    """Return the SHA-256 of a set's contents.

    For an installed set the hash covers names, lengths and bytes of the captions and of all statistics. For a user's
    set it covers the items only, because statistics follow from the items and record which of them they were made of.
    """
    if not (folder / CAPTIONS).is_file():
        return items_hash(items(load_exemplar_set(folder)))
    digest = sha256()
    for path in sorted([folder / CAPTIONS, *folder.glob("*.safetensors")]):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
