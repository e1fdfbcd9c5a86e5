"""The built-in reductions, which turn embeddings into the values of a reward."""

from dragon_rewards.reductions.standard import (
    BestOfClapScore,
    ClapScore,
    DatasetFad,
    FacetCoverage,
    PerSongFad,
    Vendi,
)

__all__ = ["BestOfClapScore", "ClapScore", "DatasetFad", "FacetCoverage", "PerSongFad", "Vendi"]
