"""Which clips of a set hurt: what each contributes to the Fréchet audio distance of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import DragonError, TooFewClipsError
from dragon_rewards.metrics.checks import checked_clips
from dragon_rewards.metrics.gaussian import MINIMUM_FRAMES, Gaussian, principal_roots
from dragon_rewards.metrics.linalg import congruent_eigenvalues, scatter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

MINIMUM_CLIPS = 2  # a clip contributes to what the others make without it
BATCH_ELEMENTS = 2**24  # float64 values of one array of a batch: 128 MiB; four to five of them live at once


@dataclass(frozen=True, eq=False)
class ClipContributions:
    """What every clip adds to the FAD of a set, in squared embedding units; positive: the clip hurts.

    Attributes:
        value: FAD of all clips together, a scalar.
        leave_one_out: FAD of all clips less FAD of all but this one, (clips,).
        marginal: slope of the FAD in the weight of this clip's frames, at weight 1, (clips,): leave-one-out to first
            order.
    """

    value: Tensor
    leave_one_out: Tensor
    marginal: Tensor


def clip_contributions(frames: Sequence[Tensor], reference: Gaussian) -> ClipContributions:
    """The contribution of each clip to `dataset_fad`, exact (leave-one-out) and to first order (marginal).

    Leave-one-out takes each clip's moments off those of all frames, then one symmetric eigenvalue problem per clip.
    The marginal needs one in all: for frames of weight w, which count as w frames, it is the sum over the clip's frames

        2 (mu - mu_r)^T (x - mu) / n + [(x - mu)^T G (x - mu) - tr G S] / (n - 1)

    for G = dFAD/dS = I - T, where T = S_r^1/2 (S_r^1/2 S S_r^1/2)^-1/2 S_r^1/2 is the optimal transport map from S to
    S_r (Olkin and Pukelsheim 1982; gradient: Bhatia, Jain and Lim, arXiv 1712.01504). Where S has no full rank, its
    pseudo-inverse serves: weights move S only within its own range. Accurate to about 1e-12 of the traces for
    well-conditioned covariances, to about 1e-7 where there are fewer frames than dimensions. Without gradient.

    Args:
        frames: per clip a matrix (frames, d); at least 2 clips.
        reference: the Gaussian of the exemplar set.

    Raises:
        DragonError: there are fewer than 2 clips; without one of them (named by its index) fewer than 2 frames remain;
            a clip is empty, has NaN or infinite values, or another dimension than the reference.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import Gaussian, clip_contributions
        >>> clips = [torch.tensor([[0.0], [2.0]]), torch.tensor([[9.0], [8.0]]), torch.tensor([[1.0], [3.0]])]
        >>> found = clip_contributions(clips, Gaussian.fit(clips[0]))
        >>> [round(value, 2) for value in found.leave_one_out.tolist()]
        [-10.51, 13.28, -9.58]
        >>> int(found.marginal.argmax())
        1
    """
    clips = [clip.detach() for clip in checked_clips(frames, reference.dim, minimum=1)]
    _check_remainders([len(clip) for clip in clips])
    whole = Gaussian.fit(torch.cat(clips))
    centred = [clip - whole.mean for clip in clips]
    size = max(1, BATCH_ELEMENTS // whole.dim**2)
    batches = (centred[start : start + size] for start in range(0, len(centred), size))
    value = _fads(whole.mean.unsqueeze(0), whole.covariance.unsqueeze(0), reference)[0]
    without = torch.cat([_fads(*_downdated(whole, batch), reference) for batch in batches])
    return ClipContributions(value, value - without, _marginal(whole, centred, reference))


def _check_remainders(counts: Sequence[int]) -> None:
    if len(counts) < MINIMUM_CLIPS:
        raise TooFewClipsError(f"contributions compare at least {MINIMUM_CLIPS} clips, and there is {len(counts)}")
    for index, count in enumerate(counts):
        left = sum(counts) - count
        if left < MINIMUM_FRAMES:
            raise DragonError(f"without clip {index} there is {left} frame, and at least {MINIMUM_FRAMES} are needed")


def _downdated(whole: Gaussian, removed: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Means (k, d) and covariances (k, d, d) of all frames but those of one centred clip: the inverse of a merge."""
    sums = torch.stack([clip.sum(0) for clip in removed]).unsqueeze(2)
    left = whole.count - sums.new_tensor([len(clip) for clip in removed]).view(-1, 1, 1)
    shift = -sums / left
    squares = (whole.count - 1) * whole.covariance - torch.stack([scatter(clip) for clip in removed])
    return whole.mean + shift[:, :, 0], (squares - left * shift * shift.mT) / (left - 1)


def _fads(means: Tensor, covariances: Tensor, reference: Gaussian) -> Tensor:
    """FAD of Gaussians, means (k, d) and covariances (k, d, d), from the reference: (k,)."""
    cross = principal_roots(congruent_eigenvalues(covariances, reference.factor.to(means.device))).sum(1)
    trace = covariances.diagonal(dim1=1, dim2=2).sum(1) + reference.covariance.detach().trace().to(means.device)
    shift = (means - reference.mean.detach().to(means.device)).square().sum(1)
    return (shift + trace - 2 * cross).clamp(min=0)


def _marginal(whole: Gaussian, centred: Sequence[Tensor], reference: Gaussian) -> Tensor:
    """Slopes of the FAD in the weight of each centred clip's frames, (clips,)."""
    device = whole.mean.device
    slope = torch.eye(whole.dim, dtype=torch.float64, device=device) - _transport(whole, reference)
    shift = whole.mean - reference.mean.detach().to(device)
    expected = (slope * whole.covariance).sum()
    spreads = torch.stack([(clip @ slope * clip).sum() - len(clip) * expected for clip in centred])
    sums = torch.stack([clip.sum(0) for clip in centred])
    return 2 * sums @ shift / whole.count + spreads / (whole.count - 1)


def _transport(whole: Gaussian, reference: Gaussian) -> Tensor:
    """The optimal transport map T from the covariance S of `whole` to that of the reference, T S T = S_r: (d, d)."""
    root = reference.sqrt.to(whole.mean.device)
    values: Tensor
    vectors: Tensor
    values, vectors = torch.linalg.eigh(root @ whole.covariance @ root)
    roots = principal_roots(values)
    whitened = root @ vectors[:, roots > 0]
    return whitened / roots[roots > 0] @ whitened.mT
