"""Tell whether clips of the embedded pipeline are what their prompts name: the instrument, the tempo, the mode.

A probe for each attribute, multinomial logistic regression, was fitted on rendered training clips by
`reports/embedded/fit_adherence.py`. It says what a clip sounds most like; what it reaches on real held-out clips is
the most that generated clips can show.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dragon_rewards import load_registry
from dragon_rewards.errors import DragonError
from dragon_rewards.storage.tensor_files import check_tensors, read_tensors, write_tensors
from dragon_train.embedded.words import ATTRIBUTES, WORDS, named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dragon_rewards.media.clips import Clips

FILE = Path(str(files("dragon_train.embedded"))) / "adherence.safetensors"
AGAIN = "install the package again, or fit it by reports/embedded/fit_adherence.py"
ENCODERS = ("logmel", "chroma")
PERIODS, BINS = 256, 64  # frames of the transform, and its bins that are kept: up to 7.8 Hz at 31.25 frames a second
SILENT = 1e-6  # added to norms and deviations, so that none is 0


def features(clips: Clips) -> Tensor:
    """Return what the probe sees of clips of one length, (clips, 205), on their device.

    Timbre and register: mean and deviation over time of each of the 64 log-mel bands. Tempo and density: the magnitude
    spectrum of the onset strength, which is the mean rise of the bands from frame to frame, at unit norm, and the
    deviation of the onset strength. Mode: the mean pitch classes, counted from the strongest.
    """
    bands, classes = (torch.stack(list(frames_of(clips, name))) for name in ENCODERS)
    rises = bands.diff(dim=1).clamp_min(0).mean(2)
    onsets = rises - rises.mean(1, keepdim=True)
    spectrum = torch.fft.rfft(onsets, n=PERIODS).abs()[:, :BINS]
    spectrum = spectrum / (spectrum.norm(dim=1, keepdim=True) + SILENT)
    mean = classes.mean(1)
    from_strongest = (mean.argmax(1)[:, None] + torch.arange(mean.shape[1], device=mean.device)) % mean.shape[1]
    turned = mean.gather(1, from_strongest)
    return torch.cat([bands.mean(1), bands.std(1), spectrum, onsets.std(1, keepdim=True), turned], dim=1)


def frames_of(clips: Clips, encoder: str) -> Sequence[Tensor]:
    """Return the frames (frames, dim) of each clip, as the built-in encoder of this name hears them."""
    registry = load_registry()
    return clips.embeddings(registry.encoder(encoder), registry.build_encoder(encoder, clips.device)).frames


@dataclass(frozen=True)
class Probe:
    """A probe of every attribute: scores = weight @ (features - mean) / deviation + bias, and the highest is found.

    Attributes:
        mean: of the features, (205,).
        deviation: of the features, (205,).
        weight: by attribute, (values, 205); the values are in the order of `WORDS`.
        bias: by attribute, (values,).
    """

    mean: Tensor
    deviation: Tensor
    weight: Mapping[str, Tensor]
    bias: Mapping[str, Tensor]

    def found(self, seen: Tensor) -> dict[str, list[str]]:
        """Return the value of every attribute that each clip sounds most like.

        Args:
            seen: the features of the clips, (clips, 205).
        """
        scaled = (seen.cpu() - self.mean) / self.deviation
        chosen = {name: (scaled @ self.weight[name].T + self.bias[name]).argmax(1).tolist() for name in ATTRIBUTES}
        return {name: [tuple(WORDS[name])[place] for place in places] for name, places in chosen.items()}

    def save(self, path: Path) -> None:
        """Write the probe to a safetensors file, with the identities of the encoders whose frames it sees."""
        tensors = {"mean": self.mean, "deviation": self.deviation}
        for name in ATTRIBUTES:
            tensors |= {f"{name} weight": self.weight[name], f"{name} bias": self.bias[name]}
        write_tensors(path, tensors, identities())

    @classmethod
    def load(cls, path: Path = FILE) -> Probe:
        """Read a probe that `save` wrote; by default the one that is shipped.

        Raises:
            DragonError: the file is missing, damaged, of other words, or of other encoders.
        """
        tensors, made_with = read_tensors(path, AGAIN)
        wanted: dict[str, tuple[str, ...]] = dict.fromkeys(("mean", "deviation"), ("float", "features"))
        for name in ATTRIBUTES:
            values = str(len(WORDS[name]))
            wanted |= {f"{name} weight": ("float", values, "features"), f"{name} bias": ("float", values)}
        check_tensors(tensors, wanted, f"'{path}'", AGAIN)
        if made_with != identities():
            raise DragonError(f"'{path}' is a probe of encoders {made_with}, not of {identities()}; {AGAIN}")
        parts = ({name: tensors[f"{name} {part}"] for name in ATTRIBUTES} for part in ("weight", "bias"))
        return cls(tensors["mean"], tensors["deviation"], *parts)


def identities() -> dict[str, str]:
    """Return the identity of each encoder whose frames the probe sees."""
    return {name: load_registry().build_encoder(name).identity for name in ENCODERS}


@torch.no_grad()
def adherence(clips: Clips, probe: Probe) -> dict[str, float]:
    """Return by attribute the share of clips in which the probe finds what the prompt names.

    Clips whose prompt does not name the attribute do not count; an attribute that no prompt names is left out.

    Args:
        clips: of one length, with their prompts.
        probe: which says what is heard.
    """
    found, asked = probe.found(features(clips)), [named(prompt) for prompt in clips.prompts or ()]
    right = {
        name: [said[name] == heard for said, heard in zip(asked, found[name], strict=True) if name in said]
        for name in ATTRIBUTES
    }
    return {name: sum(hits) / len(hits) for name, hits in right.items() if hits}
