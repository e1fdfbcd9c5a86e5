"""Aesthetics heads, which rate a clip by kernel regression on its pooled embedding.

DRAGON (arXiv 2504.15217) fits such a head on human ratings over a frozen CLAP. The head that ships with this package,
`aesthetics-degradation`, was fitted on no human rating: clean rendered clips were degraded (noise, detuning, clipping,
dropouts, timing jitter) and the severity of the damage, from 5 (clean) to 1 (ruined), served as the rating.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics.frames import clip_means
from dragon_rewards.storage.files import write_bytes
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from dragon_rewards.metrics import Gaussian
    from dragon_rewards.protocols import Embeddings


@dataclass(frozen=True)
class KernelHead:
    """A function from a clip's pooled embedding x to a rating, fitted by kernel ridge regression.

        rating(x) = mean + deviation * sum_i a_i exp(-|x - s_i|^2 / (2 h^2))

    Attributes:
        support: s, the pooled embeddings of the rated clips, (ratings, dim).
        coefficients: a, (ratings,).
        scale: h, mean and deviation, (3,): the bandwidth in embedding units, and the moments by which the ratings were
            normalised globally.
    """

    support: Tensor
    coefficients: Tensor
    scale: Tensor

    def __call__(self, pooled: Tensor) -> Tensor:
        """Return the ratings (clips,) of pooled embeddings (clips, dim)."""
        bandwidth, mean, deviation = self.scale.to(pooled)
        kernel = gaussian_kernel(pooled, self.support.to(pooled), bandwidth)
        ratings: Tensor = mean + deviation * (kernel @ self.coefficients.to(pooled))
        return ratings

    def save(self, path: Path) -> None:
        """Write the head to a safetensors file, in float16."""
        tensors = {"support": self.support, "coefficients": self.coefficients, "scale": self.scale}
        write_bytes(path, save({name: tensor.half() for name, tensor in tensors.items()}))

    @classmethod
    def load(cls, path: Path) -> KernelHead:
        """Read a head from a file that `save` wrote."""
        return cls(**load_file(path))


def gaussian_kernel(x: Tensor, y: Tensor, bandwidth: Tensor) -> Tensor:
    """Return the Gaussian kernel of every row of x (n, dim) with every row of y (m, dim): (n, m).

        k(x, y) = exp(-|x - y|^2 / (2 h^2))

    Args:
        x: (n, dim).
        y: (m, dim).
        bandwidth: h, a scalar in embedding units.
    """
    return (-torch.cdist(x, y).square() / (2 * bandwidth.square())).exp()


def fit_head(pooled: Tensor, ratings: Tensor, ridge: float = 0.1) -> KernelHead:
    """Fit a head to ratings by kernel ridge regression, with the median distance of the embeddings as bandwidth.

    Args:
        pooled: one embedding per rated clip, (ratings, dim).
        ratings: higher is better, any scale, (ratings,).
        ridge: added to the kernel's diagonal; 0 interpolates the ratings.

    Raises:
        DragonError: fewer than two ratings, or all of them equal; or most embeddings are equal.

    Example:
        >>> x = torch.linspace(-1, 1, 21)[:, None]
        >>> head = fit_head(x, 3 + x[:, 0], ridge=1e-6)
        >>> round(float(head(torch.tensor([[0.5]]))), 2)
        3.5
    """
    if len(ratings) < 2 or float(ratings.std()) == 0:  # noqa: PLR2004
        raise DragonError(
            f"a head cannot be fitted to {counted(len(ratings), 'rating')} without differences; rate more clips"
        )
    x = pooled.double()
    mean, deviation = ratings.double().mean(), ratings.double().std()
    bandwidth = bandwidth_of(x)
    kernel = gaussian_kernel(x, x, bandwidth) + ridge * torch.eye(len(x), dtype=x.dtype, device=x.device)
    coefficients = torch.linalg.solve(kernel, (ratings.double() - mean) / deviation)
    return KernelHead(x.float(), coefficients.float(), torch.stack([bandwidth, mean, deviation]).float())


def bandwidth_of(x: Tensor) -> Tensor:
    """Return the median distance of embeddings x (n, dim), which is the bandwidth of heads that are fitted to them.

    Raises:
        DragonError: it is zero.
    """
    median = torch.pdist(x).median()
    if not median:
        raise DragonError("most of these clips have the same embedding; rate other clips, or choose another encoder")
    return median


@dataclass(frozen=True)
class Aesthetics:
    """The reduction that rates each clip by a head over the mean of its frames; it does not see the prompt."""

    head: KernelHead

    def __call__(self, clips: Embeddings, reference: Gaussian | None) -> Tensor:  # noqa: ARG002
        """Return the ratings of the clips, (clips,)."""
        return self.head(pool(clips.frames))


def pool(frames: Sequence[Tensor]) -> Tensor:
    """Return the mean frame of each clip, (clips, dim), in float32."""
    return clip_means(frames, frames[0].shape[1]).float()


def load_reduction() -> Aesthetics:
    """Load the reduction `aesthetics-degradation`, which is tied to the embedded encoder `clap`."""
    return Aesthetics(
        KernelHead.load(Path(str(files("dragon_rewards.embedded"))) / "weights" / "aesthetics.safetensors")
    )
