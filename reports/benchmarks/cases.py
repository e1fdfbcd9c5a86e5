"""What is compared: a metric of this project, the peers' forms of it, and the ratio to reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import peers
import torch

from dragon_rewards.evaluation import permutation_test
from dragon_rewards.metrics import (
    Gaussian,
    clip_contributions,
    dataset_fad,
    dataset_fad_subsets,
    kernel_audio_distance,
    median_bandwidth,
    negated,
    per_song_fad,
    select_positive,
    vendi_score,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

REFERENCE_FRAMES = 5000
EXCHANGES = 99


@dataclass(frozen=True)
class Peer:
    """A baseline, and how many times as long as the metric of this project it has to take."""

    name: str
    call: Callable[[], float]
    target: float


@dataclass(frozen=True)
class Case:
    """One row: each call returns its value, so that it has ended when it returns.

    Attributes:
        products: the fewest floating-point operations of its matrix products, with half of a full product where a
            matrix is symmetric or triangular; eigenvalues and singular values come on top.
        limit: the seconds to keep to, where it is not a peer's.
        times: how many times as fast as one CPU thread an H100-class card has to be, where it is asked.
    """

    name: str
    call: Callable[[], float]
    products: float
    peers: list[Peer] = field(default_factory=list)
    limit: float | None = None
    times: float | None = None


@dataclass(frozen=True)
class Reference:
    """A distribution as each side keeps it between calls."""

    gaussian: Gaussian
    mean: peers.Array
    covariance: peers.Array
    root: peers.Array

    @classmethod
    def of(cls, frames: Tensor, device: str) -> Reference:
        """Fitted once; the root is computed once, too."""
        gaussian = Gaussian.fit(frames.to(device))
        mean, covariance = peers.moments(frames.numpy())
        return cls(gaussian, mean, covariance, gaussian.sqrt.cpu().numpy())

    @property
    def moments(self) -> tuple[peers.Array, peers.Array]:
        """Mean and covariance."""
        return self.mean, self.covariance


def embeddings(seed: int, *shape: int) -> Tensor:
    """Correlated Gaussian frames (..., d) in float64, with a spectrum that falls as trained encoders have it."""
    generator = torch.Generator().manual_seed(seed)
    dim = shape[-1]
    mixing = torch.randn(dim, dim, generator=torch.Generator().manual_seed(dim), dtype=torch.float64) / dim**0.5
    scales = torch.arange(1, dim + 1, dtype=torch.float64).rsqrt()
    return (torch.randn(*shape, generator=generator, dtype=torch.float64) * scales).matmul(mixing)


def per_song(dim: int, device: str) -> Case:
    """One clip per call, as an interactive score."""
    reference, song = Reference.of(embeddings(0, REFERENCE_FRAMES, dim), device), embeddings(1, 30, dim)
    own, plain = [song.to(device)], song.numpy()
    return Case(
        f"per-song FAD, 30 frames, d={dim}",
        lambda: float(per_song_fad(own, reference.gaussian)),
        30 * dim**2,
        [Peer("fadtk", lambda: peers.fadtk(*peers.moments(plain), *reference.moments), 500 if dim == 512 else 1)],
    )


def songs_in_a_batch(device: str) -> Case:
    """What a training step or a folder asks for."""
    reference = Reference.of(embeddings(0, REFERENCE_FRAMES, 512), device)
    songs = list(embeddings(1, 2000, 30, 512).to(device))
    return Case(
        "per-song FAD, 2,000 songs of 30 frames, d=512",
        lambda: float(per_song_fad(songs, reference.gaussian).sum()),
        2000 * 30 * 512**2,
        limit=1.5,
        times=50,
    )


def dataset(dim: int, device: str) -> Case:
    """Moments included."""
    reference = Reference.of(embeddings(0, REFERENCE_FRAMES, dim), device)
    frames = 1.1 * embeddings(1, 5000, dim) + 0.1
    clips, plain = list(frames.to(device).split(50)), frames.numpy()
    return Case(
        f"dataset FAD, 5,000 frames, d={dim}",
        lambda: float(dataset_fad(clips, reference.gaussian)),
        5000 * dim**2 + dim**3,
        [
            Peer("fadtk", lambda: peers.fadtk(*peers.moments(plain), *reference.moments), 7 if dim == 512 else 1),
            Peer("symmetric", lambda: peers.symmetric(*peers.moments(plain), reference.mean, reference.root), 1),
        ],
        times=20 if dim == 1024 else None,
    )


def selection(device: str) -> Case:
    """D+ of 64 pairs of 32-frame clips: the value is its distance, for the peers after one pass."""
    reference = Reference.of(embeddings(0, REFERENCE_FRAMES, 512), device)
    songs = embeddings(1, 2, 64, 32, 512) + embeddings(2, 2, 64, 1, 512)
    clips, plain = list(songs.flatten(0, 1).to(device)), songs.numpy()

    def own() -> float:
        return -select_positive(64, negated(dataset_fad_subsets(clips, reference.gaussian))).value

    return Case(
        "selection of D+, 64 pairs of 32 frames, d=512",
        own,
        3 * 4096 * 512**2,
        [
            Peer("sqrtm", lambda: peers.greedy(plain, lambda m, s: peers.by_root(m, s, *reference.moments)), 30),
            Peer(
                "symmetric",
                lambda: peers.greedy(plain, lambda m, s: peers.symmetric(m, s, reference.mean, reference.root)),
                3,
            ),
        ],
        times=20,
    )


def contributions(device: str) -> Case:
    """Which of 16 clips hurts most."""
    reference = Reference.of(embeddings(0, REFERENCE_FRAMES, 512), device)
    songs = embeddings(1, 16, 60, 512) + embeddings(2, 16, 1, 512)
    clips, plain = list(songs.to(device)), songs.numpy()
    return Case(
        "contributions of 16 clips of 60 frames, d=512",
        lambda: float(clip_contributions(clips, reference.gaussian).leave_one_out.max()),
        17 * (60 * 512**2 + 512**3),
        [Peer("fadtk", lambda: float(peers.leave_one_out(plain, reference.moments).max()), 1)],
        times=20,
    )


def exchanges(device: str) -> Case:
    """Is a tuned model's set of clips nearer? Its clips, exchanged with the untuned model's again and again."""
    reference = Reference.of(embeddings(0, REFERENCE_FRAMES, 128), device)
    songs = embeddings(1, 2, 192, 32, 128) + embeddings(2, 2, 192, 1, 128)
    clips, plain = list(songs.flatten(0, 1).to(device)), songs.numpy()

    def own() -> float:
        value = negated(dataset_fad_subsets(clips, reference.gaussian))
        return permutation_test(value, 192, permutations=EXCHANGES).difference

    return Case(
        f"permutation test of dataset FAD, 192 pairs of 32 frames, {EXCHANGES} exchanges, d=128",
        own,
        (384 * 32 + 2 * (1 + EXCHANGES) * 384) * 128**2,
        [
            Peer(
                "symmetric",
                lambda: peers.exchanged(
                    plain, EXCHANGES, lambda m, s: peers.symmetric(m, s, reference.mean, reference.root)
                ),
                3,
            )
        ],
        times=20,
    )


def vendi(device: str) -> Case:
    """More clips than dimensions."""
    clips = embeddings(0, 5000, 512)
    own, plain = clips.to(device), clips.numpy()
    return Case(
        "Vendi score, 5,000 clips, d=512",
        lambda: float(vendi_score(own)),
        5000 * 512**2,
        [Peer("n x n", lambda: peers.vendi(plain), 100)],
    )


def vendi_of_many(device: str) -> Case:
    """As many clips as a large archive has: their kernel of n x n would take 20 GB."""
    clips = embeddings(0, 50_000, 512).to(device)
    return Case(
        "Vendi score, 50,000 clips, d=512", lambda: float(vendi_score(clips)), 50_000 * 512**2, limit=1.0, times=20
    )


def kernel(device: str) -> Case:
    """Both sides with the same bandwidth."""
    x, y = 1.1 * embeddings(0, 10_000, 512), embeddings(1, 10_000, 512)
    width, own_x, own_y = median_bandwidth(y), x.to(device), y.to(device)
    return Case(
        "KAD, 10,000 x 10,000 frames, d=512",
        lambda: float(kernel_audio_distance(own_x, own_y, width)),
        4 * 10_000**2 * 512,
        [Peer("kadtk", lambda: peers.kadtk(x.numpy(), y.numpy(), width), 1)],
    )


CASES: list[Callable[[str], Case]] = [
    partial(per_song, 128),
    partial(per_song, 512),
    partial(per_song, 1024),
    songs_in_a_batch,
    partial(dataset, 128),
    partial(dataset, 512),
    partial(dataset, 1024),
    selection,
    contributions,
    exchanges,
    vendi,
    vendi_of_many,
    kernel,
]
