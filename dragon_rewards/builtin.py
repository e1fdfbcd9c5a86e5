"""The built-in encoders, exemplar sets and reductions, registered through the same hooks as a plugin's."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dragon_rewards.exemplars import MANIFEST, load_exemplar_set
from dragon_rewards.hookspecs import hookimpl
from dragon_rewards.protocols import Direction, EncoderInfo, Modality, ReductionInfo, ReferenceKind, RewardKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_rewards.protocols import ExemplarSetInfo

AUDIO = frozenset({Modality.AUDIO})
AUDIO_AND_TEXT = frozenset({Modality.AUDIO, Modality.TEXT})
LICENCE = "Apache-2.0"


@dataclass(frozen=True)
class Deferred:
    """A factory `module:attribute` that is imported when it is called, so that listing parts imports no torch."""

    target: str

    def __call__(self) -> Any:
        """Import the attribute, call it, and return what it returns."""
        module, attribute = self.target.split(":")
        return getattr(import_module(module), attribute)()


def _encoder(
    name: str,
    dim: int,
    modalities: frozenset[Modality],
    summary: str,
    factory: str,
    trained_on: str = "",
    statistics: Path | None = None,
) -> EncoderInfo:
    made = Deferred(f"dragon_rewards.{factory}")
    return EncoderInfo(
        name, modalities, dim, 16_000, LICENCE, summary, made, statistics=statistics, trained_on=trained_on
    )


RENDERED = "traditional music rendered on ten instruments"
# In the sets themselves they would change the hashes of the sets, by which scores of before are known to be of them.
OF_SPR = Path(str(files("dragon_rewards"))) / "embedded" / "statistics" / "spr"


ENCODERS = (
    _encoder(
        "vae",
        64,
        AUDIO,
        "latents of the embedded model's own autoencoder",
        "embedded.autoencoder:load_encoder",
        RENDERED,
    ),
    _encoder(
        "clap", 128, AUDIO_AND_TEXT, "embedded two-tower audio-text encoder", "embedded.clap:load_encoder", RENDERED
    ),
    _encoder(
        "spr",
        128,
        AUDIO,
        "embedded encoder that learnt to predict its own future: a judge beside the others",
        "embedded.spr:load_encoder",
        RENDERED,
        OF_SPR,
    ),
    _encoder("logmel", 64, AUDIO, "log-mel spectra: timbre; needs no weights", "encoders.spectral:LogMel"),
    _encoder("chroma", 12, AUDIO, "pitch classes: harmony; needs no weights", "encoders.spectral:Chroma"),
)


def _of_sets(
    name: str,
    better: Direction,
    summary: str,
    factory: str,
    minimum_clips: int,
    reference: ReferenceKind = ReferenceKind.POINTS,
) -> ReductionInfo:
    return ReductionInfo(
        name=name,
        kind=RewardKind.DISTRIBUTION_TO_DISTRIBUTION,
        direction=better,
        summary=summary,
        factory=Deferred(f"dragon_rewards.reductions.sets:{factory}"),
        needs_reference=True,
        minimum_clips=minimum_clips,
        reference=reference,
        pooled=reference is ReferenceKind.POINTS,
    )


LOWER, HIGHER = Direction.LOWER, Direction.HIGHER
NEIGHBOURS = 5  # a ball of five neighbours is of more than five clips

REDUCTIONS = (
    ReductionInfo(
        name="per-song-fad",
        kind=RewardKind.INSTANCE_TO_DISTRIBUTION,
        direction=Direction.LOWER,
        summary="Fréchet audio distance of each clip's frames from the exemplars",
        factory=Deferred("dragon_rewards.reductions.standard:PerSongFad"),
        needs_reference=True,
    ),
    ReductionInfo(
        name="dataset-fad",
        kind=RewardKind.DISTRIBUTION_TO_DISTRIBUTION,
        direction=Direction.LOWER,
        summary="Fréchet audio distance of the whole set from the exemplars",
        factory=Deferred("dragon_rewards.reductions.standard:DatasetFad"),
        needs_reference=True,
        minimum_clips=2,
    ),
    ReductionInfo(
        name="vendi",
        kind=RewardKind.DISTRIBUTION_TO_DISTRIBUTION,
        direction=Direction.HIGHER,
        summary="Vendi score: the effective number of distinct clips",
        factory=Deferred("dragon_rewards.reductions.standard:Vendi"),
        minimum_clips=2,
        pooled=True,
    ),
    ReductionInfo(
        name="facet-coverage",
        kind=RewardKind.DISTRIBUTION_TO_DISTRIBUTION,
        direction=Direction.HIGHER,
        summary="how much of the shares of the exemplars' facets the whole set covers",
        factory=Deferred("dragon_rewards.reductions.standard:FacetCoverage"),
        needs_reference=True,
        minimum_clips=2,
        reference=ReferenceKind.FACETS,
        pooled=True,
    ),
    _of_sets(
        "fad-infinity",
        LOWER,
        "Fréchet audio distance extrapolated to infinitely many clips, so that sets of any size compare",
        "FadInfinity",
        8,
        ReferenceKind.STATISTICS,
    ),
    _of_sets("kad", LOWER, "kernel audio distance, 100 MMD^2: assumes no Gaussian, unbiased for few clips", "Kad", 2),
    _of_sets("mmd", LOWER, "MMD^2 with the cubic kernel of the kernel inception distance", "Mmd", 2),
    _of_sets("precision", HIGHER, "share of clips among the exemplars: fidelity", "Precision", 1),
    _of_sets("recall", HIGHER, "share of exemplars among the clips: diversity", "Recall", NEIGHBOURS + 1),
    _of_sets("density", HIGHER, "how densely exemplars lie around the clips: fidelity, 1 expected", "Density", 1),
    _of_sets("coverage", HIGHER, "share of exemplars that have a clip near them: diversity", "Coverage", 1),
    ReductionInfo(
        name="clap-score",
        kind=RewardKind.INSTANCE,
        direction=Direction.HIGHER,
        summary="cosine of a clip with its prompt",
        factory=Deferred("dragon_rewards.reductions.standard:ClapScore"),
        needs_prompts=True,
    ),
    ReductionInfo(
        name="best-of-4-clap-score",
        kind=RewardKind.DISTRIBUTION_TO_DISTRIBUTION,
        direction=Direction.HIGHER,
        summary="cosine of the best of four clips of a prompt with it, expected, of a set with several clips a prompt",
        factory=Deferred("dragon_rewards.reductions.standard:best_of_4"),
        needs_prompts=True,
    ),
    ReductionInfo(
        name="aesthetics-degradation",
        kind=RewardKind.INSTANCE,
        direction=Direction.HIGHER,
        summary="predicted freedom from noise, detuning, clipping, dropouts and jitter (fitted on degradations)",
        factory=Deferred("dragon_rewards.reductions.aesthetics:load_reduction"),
        encoders=frozenset({"clap"}),
    ),
)


@hookimpl
def register_encoders(register: Callable[[EncoderInfo], None]) -> None:
    """Register the built-in encoders, which need no download."""
    for encoder in ENCODERS:
        register(encoder)


@hookimpl
def register_exemplar_sets(register: Callable[[ExemplarSetInfo], None]) -> None:
    """Register the exemplar sets that ship with this package: every folder with a manifest under `exemplar_sets/`."""
    for manifest in sorted(shipped_sets().glob(f"*/{MANIFEST}")):
        register(load_exemplar_set(manifest.parent))


@hookimpl
def register_reductions(register: Callable[[ReductionInfo], None]) -> None:
    """Register the reductions of DRAGON's twenty rewards, other distances of sets, and best of four."""
    for reduction in REDUCTIONS:
        register(reduction)


def shipped_sets() -> Path:
    """Return the folder of the shipped exemplar sets: inside an installed package, beside the package in a checkout."""
    installed = Path(str(files("dragon_rewards"))) / "exemplar_sets"
    return installed if installed.is_dir() else installed.parents[1] / "exemplar_sets"
