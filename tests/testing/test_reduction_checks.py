"""Every check of reductions catches a reduction that breaks its promise; reductions that keep all of them pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.faulty_parts import ClipFad, Fit, Spread, TwoTower, checks_of, encoder, reduction, registry_of
from torch import Tensor

from dragon_rewards.protocols import Direction, Embeddings
from dragon_rewards.testing import PER_CLIP, PROMPTS, REDUCTION, REFERENCE, WHOLE_SET

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_rewards.metrics import Gaussian
    from dragon_rewards.metrics.gaussian import Moments
    from dragon_rewards.protocols import ReductionInfo

CLIP, CLIP_AND_SET, WHOLE = "instance", "instance-to-distribution", "distribution-to-distribution"


class Level:
    """The mean of a clip's values."""

    def __call__(self, clips: Embeddings, _: Gaussian | None) -> Tensor:
        return torch.stack([frames.mean() for frames in clips.frames])


class Logarithm(Level):
    def __call__(self, clips: Embeddings, _: Gaussian | None) -> Tensor:
        return super().__call__(clips, _).log()


class Chance(Level):
    def __call__(self, clips: Embeddings, _: Gaussian | None) -> Tensor:
        return torch.rand(len(clips.frames))


class Placed(Level):
    def __call__(self, clips: Embeddings, _: Gaussian | None) -> Tensor:
        return super().__call__(clips, _) + torch.arange(len(clips.frames))


class First(Spread):
    """Distances from the first clip."""

    def spread(self, pooled: Tensor) -> Tensor:
        return (pooled - pooled[0]).square().sum(-1).mean()


class Volume(Level):
    """The determinant of each covariance's Cholesky factor."""

    def __call__(self, clips: Embeddings, _: Gaussian | None) -> Tensor:
        return torch.stack([torch.linalg.cholesky(frames.T.cov()).diagonal().prod() for frames in clips.frames])


class Unbiased(Spread):
    def spread(self, pooled: Tensor) -> Tensor:
        return (pooled - pooled.mean(0)).square().sum() / torch.tensor(len(pooled) - 1.0)


class Normalising(Level):
    def __call__(self, clips: Embeddings, _: Gaussian | None) -> Tensor:
        for frames in clips.frames:
            frames.div_(frames.norm())
        return super().__call__(clips, _)


class Elsewhere(Level):
    def __call__(self, clips: Embeddings, _: Gaussian | None) -> Tensor:
        return super().__call__(clips, _).to("meta")


class Relative(Level):
    def __call__(self, clips: Embeddings, _: Gaussian | None) -> Tensor:
        values = super().__call__(clips, _)
        return values - values.mean()


class WholeForSubset(Spread):
    def subsets(self, clips: Embeddings, _: Gaussian | None) -> Callable[[Tensor], Tensor]:
        return lambda rows: self(clips, _).expand(len(rows))


class Frames:
    """The mean square of all frames."""

    def __call__(self, clips: Embeddings, _: Gaussian | None) -> Tensor:
        return torch.cat(list(clips.frames)).double().square().mean()


class Squares(Frames):
    """The same; of moments something else."""

    def of_moments(self, moments: Moments, _: Gaussian | None) -> Tensor:
        return moments.scatter.trace() / moments.count


class NoSubsets:
    def __call__(self, clips: Embeddings, _: Gaussian | None) -> Tensor:
        return Spread()(clips, _)


WRONG = [
    ("facts", "summary", reduction(Level, summary="")),
    ("facts", "minimum_clips", reduction(Level, minimum_clips=0)),
    ("facts", "needs_reference=True for kind instance", reduction(Level, needs_reference=True)),
    ("facts", "needs_reference=False", reduction(Level, CLIP_AND_SET, needs_reference=False)),
    ("builds", "returns a reduction", reduction(object)),
    ("shape", "(8,) for kind instance", reduction(Spread)),
    ("shape", "() for kind distribution", reduction(Level, WHOLE)),
    ("finite", "nan", reduction(Logarithm)),
    ("deterministic", "for the same clips", reduction(Chance)),
    ("clip order", "follow the clips", reduction(Placed)),
    ("clip order", "whatever the order", reduction(First, WHOLE)),
    ("few frames", "positive-definite", reduction(Volume)),
    ("minimum clips", "raise minimum_clips", reduction(Unbiased, WHOLE)),
    ("input unmodified", "wrote to them", reduction(Normalising)),
    ("devices", "meta tensor", reduction(Elsewhere)),
    ("locality", "among others", reduction(Relative)),
    ("subsets", "one call each", reduction(WholeForSubset, WHOLE)),
    ("large sets", "of their moments", reduction(Squares, WHOLE)),
    ("large sets", "of each clip's mean", reduction(Frames, WHOLE, pooled=True)),
    ("reference matters", "other exemplars", reduction(Level, CLIP_AND_SET)),
    ("direction", "at 5 deviations", reduction(ClipFad, CLIP_AND_SET, direction=Direction.HIGHER)),
    ("prompts matter", "other prompts", reduction(Level, needs_prompts=True)),
]
ENCODERS = [encoder(TwoTower)]
RIGHT = [
    reduction(Level),
    reduction(Level, minimum_clips=12),
    reduction(Level, encoders=frozenset({"ear", "absent"})),
    reduction(ClipFad, CLIP_AND_SET),
    reduction(ClipFad, CLIP_AND_SET, encoders=frozenset({"ear"})),
    reduction(Fit, needs_prompts=True),
    reduction(Fit, needs_prompts=True, encoders=frozenset({"ear"})),
    reduction(Spread, WHOLE, minimum_clips=2, pooled=True),
    reduction(NoSubsets, WHOLE, minimum_clips=2, encoders=frozenset({"ear"})),
]


@pytest.mark.parametrize(("check", "message", "info"), WRONG, ids=[f"{check}: {why}" for check, why, _ in WRONG])
def test_a_wrong_reduction_is_caught(check: str, message: str, info: ReductionInfo) -> None:
    with pytest.raises(AssertionError) as caught:
        checks_of("reduction", registry_of(ENCODERS, reductions=[info]))[check].run()
    assert message in str(caught.value)


def test_every_check_has_a_wrong_reduction() -> None:
    assert {check for check, _, _ in WRONG} == set(REDUCTION + PER_CLIP + WHOLE_SET + REFERENCE + PROMPTS)


@pytest.mark.parametrize("info", RIGHT, ids=[f"{info.factory.__name__} {sorted(info.encoders)}" for info in RIGHT])
def test_a_right_reduction_passes_every_check(info: Any) -> None:
    found = checks_of("reduction", registry_of(ENCODERS, reductions=[info]))
    own = (PER_CLIP if info.kind.per_clip else WHOLE_SET) + REFERENCE * info.needs_reference
    assert set(found) == set(REDUCTION + own + PROMPTS * info.needs_prompts)
    for check in found.values():
        check.run()


def test_an_encoder_that_is_not_installed_is_named() -> None:
    info = reduction(Level, encoders=frozenset({"absent"}))
    with pytest.raises(AssertionError, match="unknown encoder 'absent'"):
        checks_of("reduction", registry_of(ENCODERS, reductions=[info]))["shape"].run()
