"""The built-in reductions, which turn embeddings into numbers."""

from dragon_rewards.reductions.standard import (
    BestOfClapScore,
    ClapScore,
    DatasetFad,
    FacetCoverage,
    PerSongFad,
    Vendi,
)

__all__ = ["BestOfClapScore", "ClapScore", "DatasetFad", "FacetCoverage", "PerSongFad", "Vendi"]
