"""Facets of a user's set: found by k-means over its windows or captions, and named by the captions nearest to them.

The towers of an encoder share a space, but sound and text lie apart in it (Liang et al., arXiv 2203.02053). So both are
centred before they are compared, and a name says how a facet differs from the rest of the set. For example, slow organ
hymns beside fast fiddle jigs are then named "a slow, sad hymn played on church organ", where plain cosines would name
them "a fast, dark chorale on the organ", too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from dragon_rewards.errors import DragonError
from dragon_rewards.exemplars.facets import Description, Facet, facets_path, write_facets
from dragon_rewards.exemplars.sets import captions, encode_texts, items, read_manifest
from dragon_rewards.exemplars.store import changing_sets, check_unchanged
from dragon_rewards.metrics import Facets
from dragon_rewards.protocols import Modality, TextEncoder
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.plugins import PluginRecord
    from dragon_rewards.protocols import Encoder, EncoderInfo, ExemplarSetInfo

NEAREST = 3  # captions and examples of a facet, as many as fit a row of a table


def make_facets(
    info: ExemplarSetInfo,
    encoder_info: EncoderInfo,
    encoder: Encoder,
    owner: PluginRecord | None,
    count: int,
    seed: int,
    names: Sequence[str],
    device: torch.device,
) -> Description:
    """Find facets of a user's set in an encoder's space, and store them with the set.

    Args:
        info: the set.
        encoder_info: the encoder's descriptor.
        encoder: the encoder itself.
        owner: the plugin that registered the encoder; embeddings of audio are cached under it.
        count: the number of facets.
        seed: the seed of k-means.
        names: captions to name facets by; ignored by an encoder that takes no text.
        device: where audio is encoded.

    Raises:
        DragonError: the encoder does not embed the set; audio of the set is missing or has changed; the set has fewer
            different windows or captions than facets; another process has changed the set meanwhile.
    """
    manifest = read_manifest(info.path)
    most = sum(item.windows or 1 for item in items(info))
    if count > most:
        raise DragonError(
            f"exemplar set '{info.name}' has {counted(most, 'window')} or captions, too few for {count} facets"
        )
    sources, points = _embedded(info, encoder_info, encoder, owner, device)
    try:
        facets = Facets.fit(points, count, seed)
    except DragonError as error:
        raise DragonError(f"exemplar set '{info.name}' for encoder '{encoder_info.name}': {error}") from error
    named = _nearest_captions(facets, points, list(dict.fromkeys(names)), encoder)
    distances = torch.cdist(points.double(), facets.centroids)
    found = [_facet(distances[:, at], distances.argmin(1) == at, named[at], sources) for at in range(count)]
    description = Description(encoder.identity, manifest.sha256, tuple(found))
    with changing_sets():
        check_unchanged(info.path, manifest)
        write_facets(facets_path(info, encoder_info), facets, description)
    return description


def _embedded(
    info: ExemplarSetInfo,
    encoder_info: EncoderInfo,
    encoder: Encoder,
    owner: PluginRecord | None,
    device: torch.device,
) -> tuple[Sequence[Item], Tensor]:
    """Return the item that each point is from, and the points (points, dim): windows of audio, or captions."""
    if info.modality is not Modality.TEXT and info.modality in encoder_info.modalities:
        from dragon_rewards.exemplars.statistics import pooled_windows

        return pooled_windows(info, encoder_info, encoder, owner, device)
    if info.modality is Modality.TEXT and isinstance(encoder, TextEncoder):
        return items(info), encode_texts(captions(info), encoder).cpu()
    raise DragonError(
        f"exemplar set '{info.name}' is {info.modality}, which encoder '{encoder_info.name}' does not embed"
    )


def _nearest_captions(facets: Facets, points: Tensor, names: Sequence[str], encoder: Encoder) -> list[tuple[str, ...]]:
    """Return for each facet the captions that have the largest cosines with it after both were centred."""
    if not names or not isinstance(encoder, TextEncoder):
        return [()] * len(facets.shares)
    texts = encode_texts(names, encoder).cpu().double()
    cosines = normalize(facets.centroids - points.double().mean(0)) @ normalize(texts - texts.mean(0)).mT
    best = cosines.topk(min(NEAREST, len(names))).indices
    return [tuple(names[index] for index in row) for row in best.tolist()]


def _facet(distances: Tensor, members: Tensor, named: tuple[str, ...], sources: Sequence[Item]) -> Facet:
    """Return the figures of a facet.

    Args:
        distances: the distance of each point from the facet's centroid, (points,).
        members: whether this centroid is the nearest one of each point, (points,).
        named: the captions that name the facet.
        sources: the item that each point is from.
    """
    own = members.nonzero()[:, 0]
    nearest = dict.fromkeys(sources[index].sha256 for index in own[distances[own].argsort(stable=True)].tolist())
    spread = distances[own].square().mean().sqrt()
    return Facet(float(members.double().mean()), float(spread), named, tuple(nearest)[:NEAREST])
