"""TuneJury (Kim et al., arXiv 2606.17006) scores music by how likely people are to prefer it.

Its head was trained on choices between two clips, so that the probability that people prefer clip a to clip b is
sigmoid(score(a) - score(b)). This is the head that hears audio alone ("A1"): it sees the embedding of 10 s by the audio
tower of LAION-CLAP's music model, which runs here in transformers, from the checkpoint of its authors.
"""

from __future__ import annotations

import re
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from dragon_rewards import (
    Direction,
    EncoderInfo,
    Modality,
    ReductionInfo,
    RewardKind,
    Weights,
    WeightsError,
    find_weights,
    fingerprint_files,
    hookimpl,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn
    from transformers import ClapAudioConfig

    from dragon_rewards import Embeddings

NAME, SAMPLE_RATE, WINDOW = "tunejury", 48_000, 480_000
REPOSITORY, HEAD = "TuneJury/tunejury", "A1_clap_audio_only.pt"
CLAP_REPOSITORY, CLAP = "lukewys/laion_clap", "music_audioset_epoch_15_esc_90.14.pt"
EMBEDDING, HIDDEN = 512, (1024, 512, 256, 128)
FFT, HOP, QUIETEST = 1024, 480, 1e-10  # samples, samples, power
BATCH = 8  # clips per pass, whose activations take about 1 GB
BANK = "audio_branch.logmel_extractor.melW"

# Names of LAION-CLAP's audio tower -> names in transformers.ClapAudioModelWithProjection.
RENAMED = {
    r"^audio_projection\.0\.": "audio_projection.linear1.",
    r"^audio_projection\.2\.": "audio_projection.linear2.",
    r"^audio_branch\.": "audio_model.audio_encoder.",
    r"\.bn0\.": ".batch_norm.",
    r"\.norm1\.": ".layernorm_before.",
    r"\.norm2\.": ".layernorm_after.",
    r"\.mlp\.fc1\.": ".intermediate.dense.",
    r"\.mlp\.fc2\.": ".output.dense.",
    r"\.attn\.proj\.": ".attention.output.dense.",
    r"\.attn\.": ".attention.self.",
}
# What computes spectra or labels, and masks that the network makes itself.
UNUSED = re.compile(r"audio_branch\.(spectrogram_extractor|logmel_extractor|tscam_conv|head)\.|.*\.attn_mask$")


class TuneJury:
    """An encoder whose only frame is TuneJury's score of the 10 s in the middle of a clip.

    A shorter clip is repeated as often as it fits, and zeros are added, as LAION-CLAP's package does it.
    """

    def __init__(self, head: Path, clap: Path) -> None:
        """Read the head and LAION-CLAP's checkpoint.

        Raises:
            WeightsError: a file holds anything else than tensors and numbers, or a tensor is missing or left over.
        """
        self.identity = fingerprint_files("tunejury-1", [head, clap])  # 1 is this module
        tensors = {name.removeprefix("module."): tensor for name, tensor in read_tensors(clap).items()}
        try:
            self.bank = tensors[BANK]
            self.tower = load_tower(tensors)
        except (RuntimeError, KeyError, IndexError) as error:
            raise WeightsError(f"{clap} is not {CLAP} of {CLAP_REPOSITORY}; download it again: {error}") from error
        try:
            self.head = load_head(read_tensors(head))
        except RuntimeError as error:
            raise WeightsError(f"{head} is not {HEAD} of {REPOSITORY}; download it again: {error}") from error

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Return the scores (clips, 1, 1) of mono audio (clips, samples) at 48 kHz; no frame where it is empty."""
        import torch

        if not audio.shape[1]:
            return audio.new_zeros(len(audio), 0, 1)
        return torch.cat([self.head(self._embedded(part)) for part in middle(quantise(audio)).split(BATCH)])[:, None]

    def _embedded(self, windows: Tensor) -> Tensor:
        """Return the unit embeddings (clips, 512) of windows (clips, 480000)."""
        import torch

        embedded: Tensor = self.tower(input_features=self.log_mel(windows)).audio_embeds
        return torch.nn.functional.normalize(embedded, dim=-1)

    def log_mel(self, windows: Tensor) -> Tensor:
        """Return log-mel spectra (clips, 1, frames, bands) of windows (clips, samples), in decibels from -100 up.

        The filters are in the checkpoint; the spectra are of 1024 samples under a Hann window, every 480.
        """
        import torch

        window = torch.hann_window(FFT, device=windows.device)
        spectrum = torch.stft(windows, FFT, HOP, window=window, return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
        decibels: Tensor = 10 * (power @ self.bank).clamp_min(QUIETEST).log10()
        return decibels[:, None]


def quantise(audio: Tensor) -> Tensor:
    """Round audio to the values of 16-bit samples, cut off towards zero; gradients pass as if nothing had been done."""
    steps = (audio.detach().clamp(-1, 1) * 32767).trunc()
    return steps / 32767 + (audio - audio.detach())


def middle(audio: Tensor) -> Tensor:
    """Return the middle 10 s of audio (clips, samples); shorter audio is repeated, and zeros are added.

    It is what TuneJury's published scores were made with; its own class takes a window at random.
    """
    from torch.nn.functional import pad

    samples = audio.shape[1]
    if samples >= WINDOW:
        start = (samples - WINDOW) // 2
        return audio[:, start : start + WINDOW]
    repeated = audio.repeat(1, WINDOW // samples)
    return pad(repeated, (0, WINDOW - repeated.shape[1]))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, which may lie under `state_dict` beside other tensors and numbers.

    Raises:
        WeightsError: it holds other objects than tensors and numbers, or is no checkpoint.
    """
    import numpy as np
    import torch

    number: Any = np.float64(0).__reduce__()[0]  # LAION-CLAP's file has some, by the name that it had before NumPy 2
    numbers = [number, (number, "numpy.core.multiarray.scalar"), np.dtype, np.dtypes.Float64DType]
    try:
        with torch.serialization.safe_globals(numbers):
            stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        tensors: dict[str, Tensor] = dict(stored.get("state_dict", stored))
    except (UnpicklingError, RuntimeError, AttributeError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path} is no checkpoint of tensors and numbers, and nothing else is loaded here "
            f"({type(error).__name__}): download it again"
        ) from error
    return tensors


def load_head(tensors: Mapping[str, Tensor]) -> nn.Sequential:
    """Build the head, a network of four hidden layers that maps embeddings (clips, 512) to scores (clips, 1), frozen.

    Raises:
        RuntimeError: a tensor is missing, left over or of another shape.
    """
    from torch import nn

    layers: list[nn.Module] = []
    for inner, outer in zip((EMBEDDING, *HIDDEN), HIDDEN, strict=False):
        # Dropout does nothing to a head that is trained, but holds a place in the names.
        layers += [nn.Linear(inner, outer), nn.BatchNorm1d(outer), nn.ReLU(), nn.Dropout()]
    head = nn.Sequential(*layers, nn.Linear(HIDDEN[-1], 1))
    head.load_state_dict({name.removeprefix("net."): tensor for name, tensor in tensors.items()})
    return head.eval().requires_grad_(requires_grad=False)


def load_tower(tensors: Mapping[str, Tensor]) -> Any:
    """Load LAION-CLAP's audio tower from its authors' checkpoint, frozen; every tensor of it has its place.

    Raises:
        RuntimeError: a tensor is missing, left over or of another shape.
        KeyError: what the sizes are read from is missing.
        IndexError: the same.
    """
    import torch
    from transformers import ClapAudioModelWithProjection

    with torch.device("meta"):  # 70 million values that need no initialisation
        tower: Any = ClapAudioModelWithProjection(tower_config(tensors))
    tower.load_state_dict(renamed(tensors), assign=True)
    return tower.eval().requires_grad_(requires_grad=False)


def tower_config(tensors: Mapping[str, Tensor]) -> ClapAudioConfig:
    """Return the sizes of the tower, from the shapes of its tensors."""
    from transformers import ClapAudioConfig

    tables: dict[int, list[int]] = {}
    for name, tensor in tensors.items():
        found = re.fullmatch(r"audio_branch\.layers\.(\d+)\..*\.relative_position_bias_table", name)
        if found:
            tables.setdefault(int(found[1]), []).append(tensor.shape[1])
    stages = [tables[stage] for stage in sorted(tables)]
    return ClapAudioConfig(
        patch_embeds_hidden_size=len(tensors["audio_branch.patch_embed.proj.weight"]),
        hidden_size=len(tensors["audio_branch.norm.weight"]),
        depths=[len(blocks) for blocks in stages],
        num_attention_heads=[blocks[0] for blocks in stages],
        projection_dim=len(tensors["audio_projection.2.weight"]),
    )


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the audio tower under the names that they have in transformers.

    Queries, keys and values are one tensor in the checkpoint, and three there.
    """
    found = {}
    for name, tensor in tensors.items():
        if not name.startswith(("audio_branch.", "audio_projection.")) or UNUSED.match(name):
            continue
        for pattern, replacement in RENAMED.items():
            name = re.sub(pattern, replacement, name)  # noqa: PLW2901  step by step
        if ".qkv." in name:
            for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                found[name.replace("qkv", part)] = piece
        else:
            found[name] = tensor
    return found


def load_encoder() -> TuneJury:
    """Load the encoder `tunejury` from the user's weights.

    Raises:
        WeightsError: weights are missing, or are something else.
    """
    head, clap = find_weights(NAME, REPOSITORY, [HEAD]), find_weights(NAME, CLAP_REPOSITORY, [CLAP])
    return TuneJury(head / HEAD, clap / CLAP)


class Preference:
    """The reduction to the score, averaged over a clip's frames: a long file has one for each of its windows."""

    def __call__(self, clips: Embeddings, reference: object) -> Tensor:  # noqa: ARG002
        """Return the scores of the clips, (clips,), mostly from -7 to 4."""
        import torch

        return torch.stack([frames.mean() for frames in clips.frames])


@hookimpl
def register_encoders(register: Callable[[EncoderInfo], None]) -> None:
    """Register the encoder `tunejury` and the weights that it needs."""
    register(
        EncoderInfo(
            name=NAME,
            modalities=frozenset({Modality.AUDIO}),
            dim=1,
            sample_rate=SAMPLE_RATE,
            licence="Apache-2.0",
            summary="TuneJury's audio head, a score of the middle 10 s; needs weights",
            factory=load_encoder,
            weights=(Weights(REPOSITORY, (HEAD,), NAME), Weights(CLAP_REPOSITORY, (CLAP,), NAME)),
            reductions=frozenset({NAME}),
        )
    )


@hookimpl
def register_reductions(register: Callable[[ReductionInfo], None]) -> None:
    """Register the reduction `tunejury`, which works with the encoder `tunejury` alone."""
    register(
        ReductionInfo(
            name=NAME,
            kind=RewardKind.INSTANCE,
            direction=Direction.HIGHER,
            summary="how likely people are to prefer a clip, as TuneJury predicts",
            factory=Preference,
            encoders=frozenset({NAME}),
        )
    )
