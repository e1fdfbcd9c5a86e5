"""The built-in reductions, which turn embeddings into the values of a reward."""

from dragon_rewards.reductions.sets import Coverage, Density, FadInfinity, Kad, Mmd, Precision, Recall
from dragon_rewards.reductions.standard import (
    BestOfClapScore,
    ClapScore,
    DatasetFad,
    FacetCoverage,
    PerSongFad,
    Vendi,
)

__all__ = [
    "BestOfClapScore",
    "ClapScore",
    "Coverage",
    "DatasetFad",
    "Density",
    "FacetCoverage",
    "FadInfinity",
    "Kad",
    "Mmd",
    "PerSongFad",
    "Precision",
    "Recall",
    "Vendi",
]
