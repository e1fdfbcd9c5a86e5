"""Checks of a set from a stranger: all of its parts are compared with each other before any of them is stored.

Types are checked by the readers, and names, sizes and hashes by the archive. That is not enough: whoever writes a file
writes its hashes, too, and statistics that belong to no set would give wrong values without any sign of it.
"""

from __future__ import annotations

from dataclasses import asdict
from math import isclose, isfinite
from typing import TYPE_CHECKING

from dragon_rewards.exemplars.facets import SUFFIX as FACETS
from dragon_rewards.exemplars.facets import load_facets
from dragon_rewards.exemplars.item import Item, items_hash, text_item
from dragon_rewards.protocols import Modality
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dragon_rewards.exemplars.sets import Manifest

STATISTICS = ".safetensors"
TENSORS = {"mean", "covariance", "count", "items"}  # and `factor` if the covariance needs one
LONGEST = 2**16  # the most characters of a text
DAY = 86_400.0  # the longest window in seconds
SLACK = 0.01  # relative tolerance: windows are whole samples, which changes 1 s at 50 Hz or more by less than this
DENSEST = 192_000  # the most frames of a second of audio: an encoder gives at most one for each sample


def set_fault(manifest: Manifest, examples: Sequence[Item], folder: Path, dims: Mapping[str, int]) -> str | None:
    """Say what is contradictory in a set that is to be imported; return None if nothing is.

    Args:
        manifest: the manifest of the set.
        examples: the items of the set.
        folder: the folder of its statistics and facets.
        dims: the dimension of each space that is known here, by the name of the space.

    Raises:
        DragonError: a file of statistics or facets is broken.
    """
    return next(_faults(manifest, examples, folder, dims), None)


def _faults(manifest: Manifest, examples: Sequence[Item], folder: Path, dims: Mapping[str, int]) -> Iterator[str]:
    texts = [value for value in asdict(manifest).values() if isinstance(value, str)]
    if not all(text.isprintable() for text in texts):
        yield "its manifest has control characters"
    if any(len(text) > LONGEST for text in (*texts, *(item.caption or "" for item in examples))):
        yield f"a text is longer than {LONGEST} characters"
    if type(manifest.count) is not int or manifest.count != len(examples) or not examples:
        yield f"its manifest counts {counted(manifest.count, 'example')}, and there are {len(examples)}"
    if manifest.sha256 != items_hash(examples):
        yield "items.jsonl is of another set"
    if len({item.sha256 for item in examples}) != len(examples):
        yield "an example is in it twice"
    fits = {Modality.TEXT: _is_text, Modality.IMAGE: _is_image}.get(manifest.modality, _is_audio)
    for line, item in enumerate(examples, 1):
        if item.path is not None or item.row is not None or not fits(item):
            yield f"example {line} is no {manifest.modality} that an export describes"
    for file in sorted(folder.glob(f"*{STATISTICS}")):
        yield from (f"{file.name} {fault}" for fault in _statistics_faults(file, manifest, examples, dims))
    for file in sorted(folder.glob(f"*{FACETS}")):
        yield from (f"{file.name} {fault}" for fault in _facets_faults(file, manifest, examples, dims))


def _is_text(item: Item) -> bool:
    return item.caption is not None and item == text_item(item.caption)


def _is_image(item: Item) -> bool:
    return item == Item(item.sha256, item.caption, windows=1)


def _is_audio(item: Item) -> bool:
    """Return whether the item is audio as long as its windows, at least one of which is not silent."""
    cut = item.windows + item.silent
    if item.windows < 1 or item.silent < 0 or not 0 < item.window <= DAY or not 0 < item.seconds <= DAY * cut:
        return False
    return (cut - 1) * item.window * (1 - SLACK) <= item.seconds <= cut * item.window * (1 + SLACK)


def _statistics_faults(
    file: Path, manifest: Manifest, examples: Sequence[Item], dims: Mapping[str, int]
) -> Iterator[str]:
    from safetensors import safe_open

    from dragon_rewards.exemplars.statistics import read_kept

    kept = read_kept(file)
    with safe_open(file, framework="pt") as opened:
        names = set(opened.keys())
    if names - {"factor"} != TENSORS:
        yield f"holds {', '.join(sorted(names))}"
    if manifest.modality is Modality.TEXT or kept.keys != {item.key for item in examples}:
        yield "is of another set"
    least = sum(item.windows for item in examples)
    most = DENSEST * sum(item.seconds or 1 for item in examples)  # an image may have as many frames as a second
    if not least <= kept.gaussian.count <= most:
        yield f"counts {counted(kept.gaussian.count, 'frame')} of {counted(least, 'window')}"
    yield from _space_faults(file, kept.identity, kept.gaussian.dim, dims)


def _facets_faults(file: Path, manifest: Manifest, examples: Sequence[Item], dims: Mapping[str, int]) -> Iterator[str]:
    facets, description = load_facets(file)
    shares, most = [facet.share for facet in description.facets], sum(item.windows or 1 for item in examples)
    named = {example for facet in description.facets for example in facet.examples}
    if description.items != manifest.sha256 or not named <= {item.sha256 for item in examples}:
        yield "is of another set"
    if len(shares) > most:
        yield f"has {counted(len(shares), 'facet')} of {most} windows or captions"
    if min(shares) < 0 or not _is_one(sum(shares)) or not _is_one(float(facets.shares.sum())):
        yield "has shares whose sum is not 1"
    if not all(isfinite(facet.spread) and facet.spread >= 0 for facet in description.facets):
        yield "has spreads that are none"
    yield from _space_faults(file, description.identity, facets.dim, dims)


def _is_one(total: float) -> bool:
    return isclose(total, 1, rel_tol=1e-6)


def _space_faults(file: Path, identity: str, dim: int, dims: Mapping[str, int]) -> Iterator[str]:
    if not (0 < len(identity) <= LONGEST and identity.isprintable()):
        yield "names no identity of an encoder"
    known = dims.get(file.stem, dim)
    if dim != known:
        yield f"has {dim} dimensions, and the encoder of this name has {known}"
