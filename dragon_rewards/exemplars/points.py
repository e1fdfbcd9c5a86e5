"""Files of points: `<encoder>.points` in the folder of a set holds an embedding of each example in an encoder's space.

It is a safetensors file of `metrics.Points`. Of a user's audio it is made when it is first needed, and again after the
items have changed; a set that ships without its audio has it from those who made the set. Points of captions are
encoded each time. The header holds the identity of the encoder and the hash of the set's contents, by which points of
other contents are told.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError
from dragon_rewards.exemplars.sets import MANIFEST, captions, encode_texts, has_files, read_manifest, space_of
from dragon_rewards.exemplars.store import changing_sets
from dragon_rewards.protocols import Modality, TextEncoder
from dragon_rewards.storage.tensor_files import check_tensors, read_metadata, read_tensors, write_tensors

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from dragon_rewards.metrics import Points
    from dragon_rewards.plugins import PluginRecord
    from dragon_rewards.protocols import Encoder, EncoderInfo, ExemplarSetInfo

SUFFIX = ".points"
AGAIN = "remove this file, and it is made again from the audio; of an installed set, install the set again"
TENSORS = {"points": ("float", "examples", "dim")}

log = logging.getLogger(__name__)


def points_path(info: ExemplarSetInfo, encoder: EncoderInfo) -> Path:
    """Return the path of the file where the set keeps points in this encoder's space."""
    return info.path / f"{space_of(encoder)}{SUFFIX}"


def points_fault(info: ExemplarSetInfo, encoder: EncoderInfo) -> str | None:
    """Say why `points_of` cannot give a set's points in an encoder's space; return None if it can."""
    if info.modality is Modality.TEXT:
        if Modality.TEXT in encoder.modalities:
            return None
        return f"exemplar set '{info.name}' is text, and encoder '{encoder.name}' embeds no text"
    if points_path(info, encoder).is_file() or (info.modality in encoder.modalities and has_files(info)):
        return None
    known = ", ".join(sorted(path.stem for path in info.path.glob(f"*{SUFFIX}"))) or "no encoder"
    return (
        f"exemplar set '{info.name}' is here without its audio, and it keeps an embedding of each example, which this "
        f"reward compares with, for {known}, not for encoder '{encoder.name}'"
    )


def points_of(
    info: ExemplarSetInfo,
    encoder_info: EncoderInfo,
    encoder: Encoder,
    owner: PluginRecord | None = None,
    device: torch.device | None = None,
) -> Points:
    """Return a set's points in an encoder's space: of captions, or of windows of audio, as stored or as encoded now.

    Args:
        info: the set.
        encoder_info: the encoder's descriptor.
        encoder: the encoder itself.
        owner: the plugin that registered the encoder; embeddings of audio are cached under it.
        device: where audio is encoded; None for the CPU. The points are on the CPU.

    Raises:
        DragonError: the set has no points for this encoder and no audio to make them of, they are of another identity
            of the encoder, or there are fewer than 2.
    """
    from dragon_rewards.metrics import Points

    if info.modality is Modality.TEXT and isinstance(encoder, TextEncoder):
        return Points(encode_texts(captions(info), encoder).cpu())
    fault, path = points_fault(info, encoder_info), points_path(info, encoder_info)
    if fault:
        raise DragonError(fault)
    marks = {"identity": encoder.identity, "items": read_manifest(info.path).sha256}
    if path.is_file():
        found = _stored(path, marks)
        if found is not None:
            return found
    if not has_files(info):
        raise DragonError(
            f"'{path}' is not of what exemplar set '{info.name}' holds, or not of this version of encoder "
            f"'{encoder_info.name}', '{encoder.identity}'; install both again"
        )
    return _made(info, encoder_info, encoder, owner, device, marks)


def _stored(path: Path, marks: dict[str, str]) -> Points | None:
    """Return the points in a file; None if they are of other contents or of another encoder than `marks` names.

    Raises:
        DragonError: the file is broken.
    """
    from dragon_rewards.metrics import Points

    if {name: text for name, text in read_metadata(path, AGAIN).items() if name in marks} != marks:
        return None
    tensors, _ = read_tensors(path, AGAIN)
    check_tensors(tensors, TENSORS, f"'{path}'", AGAIN)
    try:
        return Points.from_tensors(tensors)
    except DragonError as error:
        raise DragonError(f"'{path}' holds no points of a set ({error}); {AGAIN}") from error


def _made(
    info: ExemplarSetInfo,
    encoder_info: EncoderInfo,
    encoder: Encoder,
    owner: PluginRecord | None,
    device: torch.device | None,
    marks: dict[str, str],
) -> Points:
    """Encode a user's audio, keep its points for the next time, and return them."""
    from dragon_rewards.compute.devices import CPU
    from dragon_rewards.exemplars.statistics import pooled_windows
    from dragon_rewards.metrics import Points

    _, means = pooled_windows(info, encoder_info, encoder, owner, device or CPU)
    try:
        points = Points(means)
    except DragonError as error:
        raise DragonError(f"exemplar set '{info.name}' for encoder '{encoder_info.name}': {error}") from error
    path = points_path(info, encoder_info)
    try:
        with changing_sets():
            if (info.path / MANIFEST).is_file():  # otherwise the set has been removed meanwhile
                write_tensors(path, {"points": means}, marks)
    except (OSError, DragonError) as error:
        log.warning("points are not kept in '%s' (%s): they are made again when they are needed again", path, error)
    return points
