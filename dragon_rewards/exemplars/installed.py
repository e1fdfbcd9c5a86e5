"""Statistics of an installed set of audio in the space of a further encoder, made of the set's audio where it is.

Installed sets have no audio, only statistics for the encoders that they were made with. Whoever has the audio can make
them for another encoder; whether it is the set's audio is told by statistics that the set has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError
from dragon_rewards.exemplars.places import OF_INSTALLED, sets_folder
from dragon_rewards.exemplars.references import reference
from dragon_rewards.exemplars.sets import encoders_of, is_installed, read_manifest, space_of
from dragon_rewards.exemplars.statistics import gaussian_of_audio
from dragon_rewards.exemplars.store import changing_sets
from dragon_rewards.metrics import frechet_distance
from dragon_rewards.protocols import Modality
from dragon_rewards.storage.tensor_files import write_tensors
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.metrics import Gaussian
    from dragon_rewards.plugins import PluginRecord
    from dragon_rewards.protocols import Encoder, EncoderInfo, ExemplarSetInfo

SAME = 1e-3  # of the variance: `airs` is 0.0097 away from `tunebook` by chroma, which tells them apart the least


def check_installed(info: ExemplarSetInfo) -> None:
    """Refuse a set of which no statistics can be made: one of text, and one of the user's own.

    Raises:
        DragonError: it is one of these.
    """
    if info.modality is not Modality.AUDIO:
        raise DragonError(f"exemplar set '{info.name}' is {info.modality}: it serves every encoder that embeds text")
    if not is_installed(info):
        raise DragonError(
            f"exemplar set '{info.name}' is one of yours, whose statistics are made when they are needed: score by it, "
            f"or `dragon exemplars add {info.name} --encoder NAME`"
        )


def witness(info: ExemplarSetInfo, encoders: Mapping[str, EncoderInfo]) -> EncoderInfo:
    """Return an encoder that the set has statistics for, and that needs no download.

    Raises:
        DragonError: there is none.
    """
    for name in encoders_of(info):
        if name in encoders and not encoders[name].weights:
            return encoders[name]
    raise DragonError(f"exemplar set '{info.name}' has no statistics by which its audio could be told from other audio")


def check_audio(
    info: ExemplarSetInfo,
    examples: Sequence[Item],
    encoder_info: EncoderInfo,
    encoder: Encoder,
    device: torch.device,
) -> None:
    """Refuse audio that is not the set's, by its number of files and its statistics in the space of a witness.

    With (m, S) the stored mean and covariance, and (m', S') what is found, their Fréchet distance has to be at most
    tr S / 1000.

    Raises:
        DragonError: it is other audio.
    """
    if len(examples) != info.count:
        raise DragonError(
            f"exemplar set '{info.name}' has {counted(info.count, 'example')}, not {counted(len(examples), 'file')}; "
            "give all"
        )
    stored = reference(info, encoder_info, encoder)
    found = gaussian_of_audio(info, examples, encoder_info, encoder, None, device)
    apart = float(frechet_distance(found, stored) / stored.covariance.trace())
    if apart > SAME:
        raise DragonError(
            f"this is not the audio of exemplar set '{info.name}': by encoder '{encoder_info.name}' it is {apart:.3g} "
            f"of the variance away (allowed: {SAME:g}); give the files that the set was made of, as its manifest says"
        )


def make_statistics(
    info: ExemplarSetInfo,
    examples: Sequence[Item],
    encoder_info: EncoderInfo,
    encoder: Encoder,
    owner: PluginRecord,
    device: torch.device,
) -> Path:
    """Make statistics of the set's audio in the space of an encoder, store them among the user's sets, return the file.

    They are tied to the encoder's identity and to the contents of the set.

    Raises:
        DragonError: audio is missing, or the encoder failed.
    """
    gaussian: Gaussian = gaussian_of_audio(info, examples, encoder_info, encoder, owner, device)
    path = sets_folder() / OF_INSTALLED / info.name / f"{space_of(encoder_info)}.safetensors"
    metadata = {"identity": encoder.identity, "set": read_manifest(info.path).sha256}
    with changing_sets():
        write_tensors(path, gaussian.to_tensors(), metadata)
    return path
