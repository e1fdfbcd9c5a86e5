"""Files of facets: `<encoder>.facets` in the folder of a user's set holds the set's facets in an encoder's space.

It is a safetensors file of `metrics.Facets`. Its header holds as JSON what the facets were made with and from, and what
they are like, so that tensors and description never part, and one checksum covers both. Facets are described without
the safetensors library, which imports numpy. Files of the set are identified by hashes only, so that a set can be
exported as it is.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from dragon_rewards.errors import DragonError
from dragon_rewards.exemplars.item import is_line
from dragon_rewards.exemplars.sets import CAPTIONS, is_installed, read_manifest, space_of
from dragon_rewards.protocols import Modality
from dragon_rewards.storage.decoding import Hash, converted, decode_json
from dragon_rewards.storage.tensor_files import check_tensors, read_metadata, read_tensors, write_tensors
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dragon_rewards.metrics import Facets
    from dragon_rewards.protocols import Encoder, EncoderInfo, ExemplarSetInfo

SUFFIX = ".facets"
AGAIN = "remove this file, and make them again with `dragon exemplars facets`"
TENSORS = {"centroids": ("float", "facets", "dim"), "variance": ("float",), "shares": ("float", "facets")}


@dataclass(frozen=True)
class Facet:
    """The size and spread of a facet, and the captions and examples that are nearest to it.

    Attributes:
        share: the share of the set's windows or captions that are nearest to its centroid, from 0 to 1.
        spread: the root mean squared distance of these from the centroid, in embedding units.
        captions: the nearest captions, nearest first; none if the encoder takes no text.
        examples: SHA-256 of the set's items that are nearest to the centroid, nearest first.
    """

    share: Annotated[float, Meta(ge=0, le=1)]
    spread: Annotated[float, Meta(ge=0, le=1e300)]
    captions: tuple[str, ...]
    examples: tuple[Hash, ...]


class Header(Struct, frozen=True):
    """The metadata of a file of facets: a `Description` whose facets are encoded as JSON."""

    identity: str
    items: Hash
    facets: str


@dataclass(frozen=True)
class Description:
    """The description of a file of facets.

    Attributes:
        identity: the identity of the encoder that they were made with.
        items: the hash of the items that they were made from.
        facets: the description of each facet.
    """

    identity: str
    items: str
    facets: tuple[Facet, ...]


def facets_path(info: ExemplarSetInfo, encoder: EncoderInfo) -> Path:
    """Return the path of the file where the set keeps facets in this encoder's space."""
    return info.path / f"{space_of(encoder)}{SUFFIX}"


def facets_of(info: ExemplarSetInfo) -> list[str]:
    """Return the names of the spaces in which the set has facets; most are named after their encoders."""
    return sorted(path.stem for path in info.path.glob(f"*{SUFFIX}"))


def describe_facets(path: Path) -> Description:
    """Read the description of the facets in a file.

    Raises:
        DragonError: the file is broken.
    """
    return _described(read_metadata(path, AGAIN), path)


def _described(metadata: Mapping[str, str], path: Path) -> Description:
    header = converted(dict(metadata), Header, f"'{path}'", AGAIN)
    facets = decode_json(header.facets, tuple[Facet, ...], f"'{path}'", AGAIN)
    if not all(is_line(caption) for facet in facets for caption in facet.captions):
        raise DragonError(f"'{path}' has a caption that is no line of text; {AGAIN}")
    return Description(header.identity, header.items, facets)


def write_facets(path: Path, facets: Facets, description: Description) -> None:
    """Write facets and their description to a file, which appears whole or not at all."""
    described = json.dumps([asdict(facet) for facet in description.facets])
    metadata = {"identity": description.identity, "items": description.items, "facets": described}
    write_tensors(path, facets.to_tensors(), metadata)


def load_facets(path: Path) -> tuple[Facets, Description]:
    """Read facets and their description from a file that `write_facets` wrote.

    Raises:
        DragonError: the file is broken.
    """
    from dragon_rewards.metrics import Facets

    tensors, metadata = read_tensors(path, AGAIN)
    description = _described(metadata, path)
    check_tensors(tensors, TENSORS, f"'{path}'", AGAIN)
    try:
        facets = Facets.from_tensors(tensors)
    except DragonError as error:
        raise DragonError(f"'{path}' holds no facets of a user's set ({error}); {AGAIN}") from error
    if len(facets.shares) != len(description.facets):
        raise DragonError(
            f"'{path}' describes {counted(len(description.facets), 'facet')} of {len(facets.shares)}; remove it"
        )
    return facets, description


def read_facets(info: ExemplarSetInfo, encoder_info: EncoderInfo, encoder: Encoder) -> Facets:
    """Read the facets that a set keeps in an encoder's space.

    Raises:
        DragonError: there are none, or they were made of other items or with another identity of the encoder.
    """
    wrong = facets_fault(info, encoder_info)
    if wrong:
        raise DragonError(wrong)
    facets, description = load_facets(facets_path(info, encoder_info))
    if description.identity != encoder.identity:
        raise DragonError(
            f"the facets of exemplar set '{info.name}' were made with identity '{description.identity}' of encoder "
            f"'{encoder_info.name}', and it is '{encoder.identity}'; make them again: "
            f"{_command(info, encoder_info.name, description)}"
        )
    return facets


def facets_fault(info: ExemplarSetInfo, encoder: EncoderInfo) -> str | None:
    """Say why a set has no usable facets in an encoder's space, and what to do; return None if it has."""
    if is_installed(info):
        return installed_fault(info)
    path = facets_path(info, encoder)
    if not path.is_file():
        command = f"dragon exemplars facets {info.name} --encoder {encoder.name}"
        return f"exemplar set '{info.name}' has no facets for encoder '{encoder.name}'; make them: {command}"
    try:
        return stale(info, encoder.name, describe_facets(path))
    except DragonError as error:
        return str(error)


def stale(info: ExemplarSetInfo, encoder: str, description: Description) -> str | None:
    """Say that facets were made of other items than the set has now, and what to do; return None if they were not."""
    if description.items == read_manifest(info.path).sha256:
        return None
    return (
        f"facets of exemplar set '{info.name}' for encoder '{encoder}' are stale: items were added, removed or "
        f"changed since; make them again: {_command(info, encoder, description)}"
    )


def _command(info: ExemplarSetInfo, encoder: str, description: Description) -> str:
    return f"dragon exemplars facets {info.name} --encoder {encoder} --count {len(description.facets)}"


def installed_fault(info: ExemplarSetInfo) -> str:
    """Say that an installed set has no facets, and how to make a set of the user's own that has them."""
    own = info.path / CAPTIONS if info.modality is Modality.TEXT else "FOLDER"
    return (
        f"exemplar set '{info.name}' is installed, and facets are kept with sets of your own; make one, and facets of "
        f"it: dragon exemplars add NAME {own}"
    )
