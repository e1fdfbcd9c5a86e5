"""Embeddings of a set of examples that were computed so far, by the encoder that made them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True)
class EmbeddingStore:
    """Embeddings computed so far, by encoder name: frames per example, and prompts (examples, dim)."""

    frames: dict[str, tuple[Tensor, ...]]
    prompts: dict[str, Tensor]

    def select(self, rows: Sequence[int]) -> EmbeddingStore:
        """What is known of some examples."""
        return EmbeddingStore(
            {encoder: tuple(frames[row] for row in rows) for encoder, frames in self.frames.items()},
            {encoder: prompts[list(rows)] for encoder, prompts in self.prompts.items()},
        )

    @staticmethod
    def join(parts: Sequence[EmbeddingStore]) -> EmbeddingStore:
        """What is known of all parts together: the encoders that every part has."""
        frames = set.intersection(*(set(part.frames) for part in parts))
        prompts = set.intersection(*(set(part.prompts) for part in parts))
        return EmbeddingStore(
            {encoder: tuple(chain.from_iterable(part.frames[encoder] for part in parts)) for encoder in frames},
            {encoder: torch.cat([part.prompts[encoder] for part in parts]) for encoder in prompts},
        )
