"""The metrics: pure functions of tensors, exact, batched and differentiable, on the device of the embeddings."""

from dragon_rewards.metrics.contributions import ClipContributions, clip_contributions
from dragon_rewards.metrics.facets import Facets, facet_coverage, facet_coverage_subsets
from dragon_rewards.metrics.frechet import dataset_fad, frechet_distance, per_song_fad
from dragon_rewards.metrics.gaussian import Gaussian
from dragon_rewards.metrics.infinity import FadInfinity, fad_infinity, fad_infinity_subsets
from dragon_rewards.metrics.kernel import kernel_audio_distance, maximum_mean_discrepancy, median_bandwidth
from dragon_rewards.metrics.kernel_subsets import kernel_audio_distance_subsets, maximum_mean_discrepancy_subsets
from dragon_rewards.metrics.loss import frechet_loss, update_population
from dragon_rewards.metrics.neighbour_subsets import (
    coverage_subsets,
    density_subsets,
    precision_subsets,
    recall_subsets,
)
from dragon_rewards.metrics.neighbours import Prdc, coverage, density, prdc, precision, recall
from dragon_rewards.metrics.points import Points
from dragon_rewards.metrics.selection import (
    Selection,
    exchange_losses,
    negated,
    select_pairs,
    select_positive,
    select_unpaired,
)
from dragon_rewards.metrics.similarity import clap_score
from dragon_rewards.metrics.subsets import dataset_fad_subsets
from dragon_rewards.metrics.vendi import MatchedVendi, vendi_matched, vendi_score, vendi_subsets

__all__ = [
    "ClipContributions",
    "Facets",
    "FadInfinity",
    "Gaussian",
    "MatchedVendi",
    "Points",
    "Prdc",
    "Selection",
    "clap_score",
    "clip_contributions",
    "coverage",
    "coverage_subsets",
    "dataset_fad",
    "dataset_fad_subsets",
    "density",
    "density_subsets",
    "exchange_losses",
    "facet_coverage",
    "facet_coverage_subsets",
    "fad_infinity",
    "fad_infinity_subsets",
    "frechet_distance",
    "frechet_loss",
    "kernel_audio_distance",
    "kernel_audio_distance_subsets",
    "maximum_mean_discrepancy",
    "maximum_mean_discrepancy_subsets",
    "median_bandwidth",
    "negated",
    "per_song_fad",
    "prdc",
    "precision",
    "precision_subsets",
    "recall",
    "recall_subsets",
    "select_pairs",
    "select_positive",
    "select_unpaired",
    "update_population",
    "vendi_matched",
    "vendi_score",
    "vendi_subsets",
]
