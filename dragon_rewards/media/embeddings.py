"""The embeddings of a set of examples that were computed so far, by the encoder that made them."""

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
    """The embeddings of a set of examples that were computed so far, by the name of the encoder.

    Attributes:
        frames: by encoder name, the frames of each example, (frames, dim).
        prompts: by encoder name, the embedded prompts of all examples, (examples, dim).
    """

    frames: dict[str, tuple[Tensor, ...]]
    prompts: dict[str, Tensor]

    def select(self, rows: Sequence[int]) -> EmbeddingStore:
        """Return the embeddings of the examples at `rows`, in that order."""
        return EmbeddingStore(
            {encoder: tuple(frames[row] for row in rows) for encoder, frames in self.frames.items()},
            {encoder: prompts[list(rows)] for encoder, prompts in self.prompts.items()},
        )

    @staticmethod
    def join(parts: Sequence[EmbeddingStore]) -> EmbeddingStore:
        """Return the embeddings of all parts one after another, for those encoders that every part has.

        Args:
            parts: stores of different examples, at least one.
        """
        frames = set.intersection(*(set(part.frames) for part in parts))
        prompts = set.intersection(*(set(part.prompts) for part in parts))
        return EmbeddingStore(
            {encoder: tuple(chain.from_iterable(part.frames[encoder] for part in parts)) for encoder in frames},
            {encoder: torch.cat([part.prompts[encoder] for part in parts]) for encoder in prompts},
        )
