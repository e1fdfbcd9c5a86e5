"""The networks of musicnn and their front end, in torch, so that gradients reach the audio.

The architecture is from Pons and Serra, "musicnn: pre-trained convolutional neural networks for music audio tagging",
arXiv 1909.06654: convolutions whose shapes follow timbre and time, three residual layers in time, and a pool
over the patch. Only inference is offered: batch normalisation takes the statistics of training, and nothing is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers.audio_utils import mel_filter_bank

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLE_RATE, N_FFT, FFT_HOP, BANDS = 16_000, 512, 256, 96
PATCH = 187  # frames of a patch, 3 s
SHORTEST = (PATCH - 1) * FFT_HOP  # samples that make one patch, 2.976 s: the first and last frame reach beyond the clip
EPSILON = 1e-3  # of TensorFlow's batch normalisation
TIMBRAL, TEMPORAL, MIDDLE, PENULTIMATE, TAGS = 204, 51, 64, 200, 50  # filters of each layer, units
FEATURES = 2 * TIMBRAL + 3 * TEMPORAL
POOLED = FEATURES + 3 * MIDDLE
BATCH = 8  # patches per pass, whose first activations take 20 MB each


@dataclass(frozen=True)
class Layers:
    """What the network computes of each patch, with any leading shape (...).

    Attributes:
        mean: the mean over the patch of all convolutions, (..., 753).
        penultimate: the layer before the tags, (..., 200).
        logits: the log-odds of the tags, (..., 50).
    """

    mean: Tensor
    penultimate: Tensor
    logits: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> Layers:
        """Return the layers with a function applied to each."""
        return Layers(function(self.mean), function(self.penultimate), function(self.logits))


class FrontEnd(nn.Module):
    """The log-mel spectrum that the networks were trained on, 62.5 frames a second: log10(10000 power + 1).

    It is defined as in librosa 0.7, the version of musicnn's time: frames are centred, and the clip is mirrored at its
    ends (librosa 0.10 and later put zeros there). musicnn rounds the power to 16 bits, which overflows in loud tones;
    here it is kept in 32.
    """

    def __init__(self) -> None:
        super().__init__()
        bank = mel_filter_bank(
            N_FFT // 2 + 1, BANDS, 0.0, SAMPLE_RATE / 2, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
        )
        self.bank: Tensor
        self.window: Tensor
        self.register_buffer("bank", torch.from_numpy(bank).float(), persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Return the spectra (clips, 1 + samples // 256, 96) of mono audio (clips, samples) at 16 kHz."""
        spectrum = torch.stft(audio, N_FFT, FFT_HOP, window=self.window, pad_mode="reflect", return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2) @ self.bank
        return (10_000 * power + 1).log10()


class Convolution(nn.Module):
    """A convolution over time and bands, rectified and normalised, of which the loudest band is kept.

    Time is padded with zeros so that there are as many frames as before; of an even kernel's padding, the smaller half
    stands before the patch, as in TensorFlow.
    """

    def __init__(self, filters: int, frames: int, bands: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, filters, (frames, bands))
        self.norm = nn.BatchNorm2d(filters, EPSILON)
        self.around = (0, 0, (frames - 1) // 2, frames // 2)

    def forward(self, patches: Tensor) -> Tensor:
        """Return the features (patches, filters, frames) of patches (patches, 1, frames, bands)."""
        features: Tensor = self.norm(self.convolution(pad(patches, self.around)).relu())
        return features.amax(-1)


class Middle(nn.Module):
    """A convolution over time that reads all features of a frame, rectified and normalised."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(inputs, MIDDLE, 7, padding=3)
        self.norm = nn.BatchNorm1d(MIDDLE, EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        """Return the features (patches, 64, frames) of others (patches, inputs, frames)."""
        made: Tensor = self.norm(self.convolution(features).relu())
        return made


class Dense(nn.Module):
    """The penultimate layer: linear, rectified, normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * POOLED, PENULTIMATE)
        self.norm = nn.BatchNorm1d(PENULTIMATE, EPSILON)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return (patches, 200) of pooled features (patches, 1506)."""
        made: Tensor = self.norm(self.linear(pooled).relu())
        return made


class Network(nn.Module):
    """The network of MTT_musicnn and of MSD_musicnn, which differ in their weights and tags: 792 thousand values."""

    def __init__(self) -> None:
        super().__init__()
        self.input = nn.BatchNorm2d(1, EPSILON)
        self.timbral = nn.ModuleList([Convolution(TIMBRAL, 7, bands) for bands in (38, 67)])
        self.temporal = nn.ModuleList([Convolution(TEMPORAL, frames, 1) for frames in (128, 64, 32)])
        self.middle = nn.ModuleList([Middle(FEATURES), Middle(MIDDLE), Middle(MIDDLE)])
        self.pooled = nn.BatchNorm1d(2 * POOLED, EPSILON)
        self.dense = Dense()
        self.tags = nn.Linear(PENULTIMATE, TAGS)

    def forward(self, patches: Tensor) -> Layers:
        """Compute the layers of log-mel patches (patches, 187, 96)."""
        patches = self.input(patches.unsqueeze(1))
        front = torch.cat([convolution(patches) for convolution in (*self.timbral, *self.temporal)], 1)
        first = self.middle[0](front)
        second = first + self.middle[1](first)
        features = torch.cat([front, first, second, second + self.middle[2](second)], 1)
        mean = features.mean(-1)
        penultimate = self.dense(self.pooled(torch.stack([features.amax(-1), mean], -1).flatten(1)))
        return Layers(mean, penultimate, self.tags(penultimate))
