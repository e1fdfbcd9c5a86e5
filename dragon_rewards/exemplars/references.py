"""The Gaussian of an exemplar set in an encoder's space: read from the set, or computed from its captions or audio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError
from dragon_rewards.exemplars.sets import (
    brought_statistics,
    captions,
    content_hash,
    encode_texts,
    encoders_of,
    gaussian_of,
    is_installed,
    items,
    read_manifest,
    space_of,
)
from dragon_rewards.protocols import Modality, TextEncoder
from dragon_rewards.storage.tensor_files import read_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from dragon_rewards.metrics import Gaussian
    from dragon_rewards.plugins import PluginRecord
    from dragon_rewards.protocols import Encoder, EncoderInfo, ExemplarSetInfo

INSTALL = "install the set again, or build it again"


def reference(
    info: ExemplarSetInfo,
    encoder_info: EncoderInfo,
    encoder: Encoder,
    owner: PluginRecord | None = None,
    device: torch.device | None = None,
) -> Gaussian:
    """Return the Gaussian of a set in an encoder's space: stored statistics, or captions or files that are encoded now.

    Args:
        info: the set.
        encoder_info: the encoder's descriptor.
        encoder: the encoder itself.
        owner: the plugin that registered the encoder; embeddings of files are cached under it.
        device: where files are encoded; None for the CPU. The Gaussian is on the CPU.

    Raises:
        DragonError: the set has no statistics for this encoder, or they were made with another identity of it; a file
            of a user's set is missing or has changed.
    """
    if info.modality is not Modality.TEXT and items(info):
        from dragon_rewards.compute.devices import CPU
        from dragon_rewards.exemplars.statistics import up_to_date

        return up_to_date(info, encoder_info, encoder, owner, device or CPU)
    reads = info.modality is Modality.TEXT and isinstance(encoder, TextEncoder)
    stored = encoder_info.name if reads else space_of(encoder_info)
    if stored in encoders_of(info):
        return _stored(info, info.path / f"{stored}.safetensors", stored, encoder.identity)
    if info.modality is Modality.TEXT and isinstance(encoder, TextEncoder):
        return _encoded(captions(info), encoder_info.name, encoder)
    if brought := brought_statistics(info, encoder_info):
        return _stored(info, brought, encoder_info.name, encoder.identity)
    known = ", ".join(encoders_of(info)) or "no encoder"
    raise DragonError(
        f"exemplar set '{info.name}' has no statistics for encoder '{encoder_info.name}', only for {known}"
    )


def _check_version(info: ExemplarSetInfo, path: Path, made_of: str | None) -> None:
    """Refuse statistics that the user made of what the set was before it was installed anew."""
    if made_of is not None and made_of != read_manifest(info.path).sha256:
        raise DragonError(
            f"'{path}' was made of another version of exemplar set '{info.name}'; make it again with "
            "`dragon exemplars statistics`"
        )


def _stored(info: ExemplarSetInfo, path: Path, encoder: str, identity: str) -> Gaussian:
    tensors, metadata = read_tensors(path, INSTALL)
    recorded = metadata.get("identity")
    if recorded != identity:
        raise DragonError(
            f"the statistics of exemplar set '{info.name}' for encoder '{encoder}' were made with identity "
            f"'{recorded}', and the encoder's is '{identity}': build the set again with this encoder"
        )
    _check_version(info, path, metadata.get("set"))
    installed = path.parent == info.path and is_installed(info)
    if installed and content_hash(info.path) != read_manifest(info.path).sha256:
        raise DragonError(
            f"exemplar set '{info.name}' is not what its manifest names, so '{path}' is not read; {INSTALL}"
        )
    return gaussian_of(tensors, f"'{path}'", INSTALL)


def _encoded(texts: Sequence[str], name: str, encoder: TextEncoder) -> Gaussian:
    from dragon_rewards.encoders.text_limits import warn_of_cut_texts
    from dragon_rewards.metrics import Gaussian

    warn_of_cut_texts(name, encoder, texts)
    return Gaussian.fit(encode_texts(texts, encoder).cpu())
