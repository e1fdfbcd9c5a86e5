"""Real small parts: an encoder of random projections, exemplar sets in folders, plugins installed on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dragon_rewards.exemplars import Statistics, load_exemplar_set, write_exemplar_set
from dragon_rewards.metrics import Gaussian
from dragon_rewards.protocols import EncoderInfo, ExemplarSetInfo, Modality

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RATE, DIM = 8000, 4
CAPTIONS = [f"{speed} {tune} in {key}" for speed in ("slow", "fast") for tune in ("jig", "air") for key in "CDG"]


class Projection(nn.Module):
    """Random projection of log spectra, 100 frames a second; counts its passes."""

    identity = "projection-1"

    def __init__(self) -> None:
        super().__init__()
        weight = torch.randn(41, DIM, generator=torch.Generator().manual_seed(7))
        self.register_buffer("weight", weight / 41**0.5)
        self.passes = 0

    def encode_audio(self, audio: Tensor) -> Tensor:
        self.passes += 1
        spectra = torch.fft.rfft(audio.unfold(-1, 80, 80)).abs()
        frames: Tensor = (spectra + 1e-3).log() @ self.weight
        return frames


class TwoTower(Projection):
    """With a text tower: the mean of seeded word vectors."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([torch.stack([_word(word) for word in text.split()]).mean(0) for text in texts])


def _word(word: str) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4])
    return torch.randn(DIM, generator=torch.Generator().manual_seed(seed))


def noise(clips: int, seed: int = 0, scale: float = 0.1) -> Tensor:
    return scale * torch.randn(clips, RATE, generator=torch.Generator().manual_seed(seed))


def encoder_info(name: str, kind: type[Projection]) -> EncoderInfo:
    texts = {Modality.TEXT} if kind is TwoTower else set()
    return EncoderInfo(name, frozenset({Modality.AUDIO} | texts), DIM, RATE, "MIT", "for tests", kind)


def make_set(folder: Path, modality: Modality, encoders: dict[str, Projection]) -> ExemplarSetInfo:
    """An exemplar set of a folder's name, with statistics for `encoders` over noise."""
    info = ExemplarSetInfo(folder.name, modality, len(CAPTIONS), "CC0", "for tests", folder)
    statistics = {
        name: Statistics(Gaussian.fit(encoder.encode_audio(noise(12, seed=1)).flatten(0, 1)), encoder.identity)
        for name, encoder in encoders.items()
    }
    write_exemplar_set(info, "made by a test", CAPTIONS, statistics)
    return load_exemplar_set(folder)


@dataclass(frozen=True)
class Site:
    """A folder of installed packages, each of one module, as pip would leave them."""

    folder: Path

    def install(self, package: str, source: str, entry: str = "", group: str = "dragon_rewards") -> None:
        module = package.replace("-", "_")
        (self.folder / f"{module}.py").write_text(source, encoding="utf-8")
        info = self.folder / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n", encoding="utf-8")
        line = f"{entry or package.removeprefix('dragon-reward-')} = {module}"
        (info / "entry_points.txt").write_text(f"[{group}]\n{line}\n", encoding="utf-8")
