"""Clips that are points, and rewards that are linear in them, for tests of what learns from rewards."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dragon_rewards.media.media import EmbeddingStore, Encoded, Media
from dragon_rewards.protocols import RewardKind


@dataclass(frozen=True)
class Along:
    """A reward of clips: how far each of them lies along a direction."""

    direction: tuple[float, ...]
    kind: RewardKind = RewardKind.INSTANCE

    @property
    def name(self) -> str:
        """The direction, as text."""
        return f"along {self.direction}"

    @property
    def parts(self) -> tuple[Along, ...]:
        """The reward itself."""
        return (self,)

    @property
    def weights(self) -> tuple[float, ...]:
        """The factor of the one part."""
        return (1.0,)

    def value(self, clips: Media) -> torch.Tensor:
        points = torch.cat(clips.known.frames["points"])
        return points @ torch.tensor(self.direction, dtype=points.dtype)


def clips_of(points: torch.Tensor) -> Media:
    """Clips that are points, (clips, coordinates)."""
    texts = [f"prompt {index}" for index in range(len(points))]
    return Encoded(EmbeddingStore({"points": tuple(points[:, None])}, {}), texts, texts)
