"""Small parts that keep every promise of the conformance kit, and a registry made of parts."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dragon_rewards.exemplars import Statistics, load_exemplar_set, write_exemplar_set
from dragon_rewards.metrics import Gaussian, frechet_distance
from dragon_rewards.plugins import PluginRecord
from dragon_rewards.protocols import (
    Direction,
    EncoderInfo,
    ExemplarSetInfo,
    Modality,
    ReductionInfo,
    RewardKind,
)
from dragon_rewards.registry import Registry
from dragon_rewards.testing import Check, checks
from dragon_rewards.testing.sounds import sounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from dragon_rewards.protocols import Embeddings

PACKAGE = "dragon-tests"
RATE, DIM, WINDOW = 8000, 6, 400
CAPTIONS = [f"a {speed} {tune} in {key}" for speed in ("slow", "fast") for tune in ("jig", "air") for key in "CDG"]


class Ear(nn.Module):
    """Levels of six bands, 20 frames a second."""

    identity = "ear-1"

    def encode_audio(self, audio: Tensor) -> Tensor:
        return self.levels(audio, 1e-3)

    def levels(self, audio: Tensor, floor: float) -> Tensor:
        spectra = torch.view_as_real(torch.fft.rfft(audio.unfold(-1, WINDOW, WINDOW))).square().sum(-1)
        bands = [band.mean(-1) for band in spectra.tensor_split(DIM, dim=-1)]
        return (torch.stack(bands, dim=-1) + floor).log10()


class TwoTower(Ear):
    """With a text tower: the mean of the words' vectors, 0 for no words."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([self.pooled(text.split()) for text in texts])

    def pooled(self, words: Sequence[str]) -> Tensor:
        return torch.stack([word_vector(word) for word in words]).mean(0) if words else torch.zeros(DIM)


def word_vector(word: str) -> Tensor:
    """Drawn by a seed that the word gives."""
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4])
    return torch.randn(DIM, generator=torch.Generator().manual_seed(seed))


class ClipFad:
    """Fréchet distance of each clip."""

    def __call__(self, clips: Embeddings, reference: Gaussian | None) -> Tensor:
        assert reference is not None
        return torch.stack([frechet_distance(Gaussian.fit(frames), reference) for frames in clips.frames])


class Spread:
    """Mean squared distance of the clips' mean frames from their centre."""

    def __call__(self, clips: Embeddings, _: Gaussian | None) -> Tensor:
        return self.spread(torch.stack([frames.mean(0) for frames in clips.frames]))

    def subsets(self, clips: Embeddings, _: Gaussian | None) -> Callable[[Tensor], Tensor]:
        pooled = torch.stack([frames.mean(0) for frames in clips.frames])
        return lambda rows: torch.stack([self.spread(pooled[row]) for row in rows])

    def spread(self, pooled: Tensor) -> Tensor:
        return (pooled - pooled.mean(0)).square().sum(-1).mean()


class Fit:
    """Inner product of a clip's mean frame with its prompt."""

    def __call__(self, clips: Embeddings, _: Gaussian | None) -> Tensor:
        assert clips.prompts is not None
        return (torch.stack([frames.mean(0) for frames in clips.frames]) * clips.prompts).sum(-1)


def encoder(factory: Callable[[], Any], **changes: Any) -> EncoderInfo:
    """A descriptor, text declared where the factory's class embeds text."""
    modalities = {Modality.AUDIO} | ({Modality.TEXT} if hasattr(factory, "encode_text") else set())
    facts = {"modalities": frozenset(modalities), "dim": DIM, "sample_rate": RATE, "licence": "MIT", "summary": "tries"}
    return EncoderInfo(**{"name": "ear", "factory": factory, **facts, **changes})


def reduction(factory: Callable[[], Any], kind: str = "instance", **changes: Any) -> ReductionInfo:
    """A descriptor; a reference and a lower-is-better direction where the kind compares with exemplars."""
    compares = kind == "instance-to-distribution"
    facts: dict[str, Any] = {"direction": Direction.LOWER if compares else Direction.HIGHER, "summary": "tries"}
    facts |= {"name": "judge", "kind": RewardKind(kind), "needs_reference": compares, "factory": factory}
    return ReductionInfo(**{**facts, **changes})


def exemplar_set(
    folder: Path, modality: Modality = Modality.AUDIO, captions: Sequence[str] = CAPTIONS, **changes: Any
) -> ExemplarSetInfo:
    """A set in a folder, with statistics for `ear` of sounds, or of the captions for a text set."""
    facts = {"count": len(CAPTIONS), "licence": "CC0-1.0", "summary": "tries", **changes}
    info = ExemplarSetInfo(name=folder.name, modality=modality, path=folder, **facts)
    write_exemplar_set(info, "made by a test", captions, {"ear": statistics(modality)})
    return load_exemplar_set(folder)


def statistics(modality: Modality) -> Statistics:
    """Of `ear`."""
    frames = TwoTower().encode_text(CAPTIONS) if modality is Modality.TEXT else Ear().encode_audio(sounds(8, RATE, 2))
    return Statistics(Gaussian.fit(frames.flatten(0, -2)), Ear.identity)


def registry_of(
    encoders: Iterable[EncoderInfo] = (),
    exemplar_sets: Iterable[ExemplarSetInfo] = (),
    reductions: Iterable[ReductionInfo] = (),
) -> Registry:
    """A registry in which one package owns everything."""
    owner = PluginRecord("tests", PACKAGE, "1.0")
    ears, sets = {info.name: info for info in encoders}, {info.name: info for info in exemplar_sets}
    judges = {info.name: info for info in reductions}
    by_hook: dict[str, Mapping[str, Any]] = {
        "register_encoders": ears,
        "register_exemplar_sets": sets,
        "register_reductions": judges,
    }
    owners = {(hook, name): owner for hook, named in by_hook.items() for name in named}
    return Registry(ears, sets, judges, owners, (owner,), ())


def checks_of(family: str, registry: Registry) -> dict[str, Check]:
    """The checks of the parts of a family, by name."""
    return {check.name: check for check in checks(PACKAGE, registry) if check.part.startswith(family)}
