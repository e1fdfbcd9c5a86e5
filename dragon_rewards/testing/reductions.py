"""The checks of what a reduction promises."""

from __future__ import annotations

from functools import cached_property, lru_cache
from math import sqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dragon_rewards.compute.devices import available_devices, statistics_device
from dragon_rewards.metrics import Facets, Gaussian, Points
from dragon_rewards.metrics.gaussian import Moments
from dragon_rewards.protocols import Embeddings, Modality, ReferenceKind
from dragon_rewards.terminal.printable import counted
from dragon_rewards.testing.encoders import EncoderCase
from dragon_rewards.testing.image_encoders import ImageCase
from dragon_rewards.testing.require import require, require_equal, require_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon_rewards.protocols import Reduction
    from dragon_rewards.registry import Registry
    from dragon_rewards.testing.towers import TowerCase

CLIPS, DIM, EXAMPLES = 8, 8, 500
FEW = 3  # frames, fewer than dimensions
AWAY = 5  # standard deviations of the exemplars
PACES = ("slow", "fast")  # words that an encoder of few words tells apart
FACETS = 3


class ReductionCase:
    """A reduction and what it is tried on: embeddings of the encoder it is tied to, or else normal draws.

    Attributes:
        info: the reduction's descriptor.
        registry: where the reduction and its encoder are registered.
    """

    def __init__(self, name: str, registry: Registry) -> None:
        self.info = registry.reduction(name)
        self.registry = registry

    @cached_property
    def reduction(self) -> Reduction:
        """The reduction, built once for all checks."""
        return self.registry.build_reduction(self.info.name)

    @cached_property
    def encoder(self) -> TowerCase | None:
        """The encoder that the reduction is tied to; of several, an installed one; None if it is tied to none."""
        tied = sorted(self.info.encoders, key=lambda name: (name not in self.registry.encoders, name))
        return _tower(tied[0], self.registry) if tied else None

    @cached_property
    def clips(self) -> Embeddings:
        """Embeddings of more clips than the reduction needs, with prompts if it wants them."""
        count = max(CLIPS, self.info.minimum_clips + 2)
        return Embeddings(self._frames(count, seed=0), self._prompts(count) if self.info.needs_prompts else None)

    @cached_property
    def exemplars(self) -> list[Tensor]:
        """The frames (frames, dim) of other clips of the same kind."""
        return self._frames(CLIPS, seed=5)

    @cached_property
    def deviations(self) -> Tensor:
        """The standard deviation of the exemplars' frames, (dim,), in float64."""
        return torch.cat(self.exemplars).double().std(0)

    @cached_property
    def reference(self) -> Gaussian | Facets | Points | None:
        """The reference that is fitted to the exemplars, if the reduction wants one."""
        return self.fit(self.exemplars) if self.info.needs_reference else None

    def fit(self, exemplars: Sequence[Tensor]) -> Gaussian | Facets | Points:
        """Fit what the reduction compares with, a Gaussian, facets or points, to exemplars' frames."""
        if self.info.reference is ReferenceKind.POINTS:
            return Points(torch.stack([frames.mean(0) for frames in exemplars]))
        if self.info.reference is ReferenceKind.FACETS:
            return Facets.fit(torch.stack([frames.mean(0) for frames in exemplars]), FACETS)
        return Gaussian.fit(torch.cat(list(exemplars)))

    def reference_on(self, device: torch.device) -> Gaussian | Facets | Points | None:
        """Return a copy of the reference on a device; None if the reduction has none."""
        return None if self.reference is None else self.reference.to(device)

    @cached_property
    def values(self) -> Tensor:
        """The raw metric of `clips` against `reference`, (clips,) or a scalar."""
        return self.judge(self.clips)

    def judge(self, clips: Embeddings) -> Tensor:
        """Return the raw metric of some clips against `reference`, (clips,) or a scalar."""
        return self.reduction(clips, self.reference)

    def _frames(self, count: int, seed: int) -> list[Tensor]:
        if self.encoder:
            return [*self.encoder.examples(count, seed)]
        generator = torch.Generator().manual_seed(seed)
        lengths = range(EXAMPLES // CLIPS, EXAMPLES // CLIPS + count)
        return [torch.randn(frames, DIM, generator=generator) for frames in lengths]

    def _prompts(self, count: int) -> Tensor:
        if self.encoder:
            return self.encoder.encode_text(
                [f"a {PACES[number % 2]} tune on {number} fiddles" for number in range(count)]
            )
        return torch.randn(count, DIM, generator=torch.Generator().manual_seed(9))


def _tower(encoder: str, registry: Registry) -> TowerCase:
    hears = Modality.AUDIO in registry.encoder(encoder).modalities
    return EncoderCase(encoder, registry) if hears else ImageCase(encoder, registry)


prepare = lru_cache(maxsize=1)(ReductionCase)  # the checks of a reduction share its values


def select(clips: Embeddings, rows: Sequence[int]) -> Embeddings:
    """Return the embeddings of some clips, and their prompts, in the order of `rows`."""
    prompts = None if clips.prompts is None else clips.prompts[list(rows)]
    return Embeddings([clips.frames[row] for row in rows], prompts)


def facts(case: ReductionCase) -> None:
    """Check that the descriptor's facts agree with each other."""
    info = case.info
    require_texts(info, "summary")
    counted = type(info.minimum_clips) is int and info.minimum_clips > 0
    require(counted, "minimum_clips is 1 or more", repr(info.minimum_clips), "correct the ReductionInfo")
    compared = {"instance": False, "instance-to-distribution": True}.get(info.kind, info.needs_reference)
    found = f"needs_reference={info.needs_reference} for kind {info.kind}"
    promised = "a reference for instance-to-distribution, none for instance"
    require(info.needs_reference == compared, promised, found, "correct the ReductionInfo")


def builds(case: ReductionCase) -> None:
    """Check that the factory makes something that can be called."""
    require(callable(case.reduction), "a factory that returns a reduction", f"{case.reduction!r}", "define __call__")


def shape(case: ReductionCase) -> None:
    """Check that the reduction returns a floating point value per clip, or one of the whole set, as its kind says."""
    _require_values(case.values, case, len(case.clips.frames))


def _require_values(found: object, case: ReductionCase, clips: int) -> None:
    expected = (clips,) if case.info.kind.per_clip else ()
    kept = isinstance(found, Tensor) and found.is_floating_point() and found.shape == expected
    got = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
    require(
        kept, f"a floating point tensor {expected} for kind {case.info.kind}", got, "return it, or correct the kind"
    )


def finite(case: ReductionCase) -> None:
    """Check that no value of a clip or set is NaN or infinite."""
    require(case.values.isfinite().all(), "finite values", f"{case.values}", "look for divisions, roots and logarithms")


def deterministic(case: ReductionCase) -> None:
    """Check that the same clips have the same values, on a second call and by another build."""
    mend = "seed what is drawn by a constant; load all weights"
    require_equal(case.judge(case.clips), case.values, "the same value for the same clips", mend)
    again = case.info.factory()(case.clips, case.reference)
    require_equal(again, case.values, "the same value by another build", mend)


def clip_order(case: ReductionCase) -> None:
    """Check that values of clips follow the order of the clips, and that the value of a set does not depend on it."""
    rows = list(reversed(range(len(case.clips.frames))))
    expected = case.values[rows] if case.info.kind.per_clip else case.values
    promised = "values that follow the clips" if case.info.kind.per_clip else "a value whatever the order of clips"
    require_equal(case.judge(select(case.clips, rows)), expected, promised, "let no clip's place count")


def few_frames(case: ReductionCase) -> None:
    """Check that clips of fewer frames than dimensions have finite values."""
    rows = range(case.info.minimum_clips)
    few = select(Embeddings([frames[:FEW] for frames in case.clips.frames], case.clips.prompts), rows)
    _require_values(case.judge(few), case, len(rows))
    found = case.judge(few)
    mend = "covariances are singular here: invert none, and clip eigenvalues at 0"
    require(found.isfinite().all(), f"finite values of clips of {FEW} frames", f"{found}", mend)


def minimum_clips(case: ReductionCase) -> None:
    """Check that as many clips as `minimum_clips` says are enough for finite values."""
    least = case.info.minimum_clips
    found = case.judge(select(case.clips, range(least)))
    _require_values(found, case, least)
    require(found.isfinite().all(), f"finite values of {counted(least, 'clip')}", f"{found}", "raise minimum_clips")


def input_unmodified(case: ReductionCase) -> None:
    """Check that the reduction does not write to frames, prompts or reference."""
    fresh = ReductionCase(case.info.name, case.registry)  # an earlier check's call may have written to what it shares
    given = [*fresh.clips.frames, fresh.clips.prompts]
    given += fresh.reference.to_tensors().values() if fresh.reference else []
    tensors = [tensor for tensor in given if tensor is not None]
    before = [tensor.clone() for tensor in tensors]
    fresh.judge(fresh.clips)
    same = all(map(torch.equal, tensors, before))
    require(same, "inputs that are left as they were", "the reduction wrote to them", "use no operation in place")


def devices(case: ReductionCase) -> None:
    """Check that on every device of this machine the reduction's copy gives the CPU's values."""
    mend = "hold tensors in attributes or closures, which are copied, and make others there (device=frames.device)"
    for device in available_devices():
        there = statistics_device(device)
        reduction, reference = case.registry.build_reduction(case.info.name, there), case.reference_on(there)
        promised = f"the CPU's values for clips on {device}"
        try:
            found = reduction(case.clips.to(there), reference).cpu()
        except RuntimeError as error:
            require(kept=False, promised=promised, found=str(error), mend=mend)
        require_equal(found, case.values, promised, mend)


def locality(case: ReductionCase) -> None:
    """Check that a clip's value does not depend on the other clips."""
    least = case.info.minimum_clips
    alone = case.judge(select(case.clips, range(least)))
    mend = "compare a clip with the reference or its prompt only, or declare distribution-to-distribution"
    require_equal(alone, case.values[:least], f"the value of a clip among others and among {least}", mend)


def subsets(case: ReductionCase) -> None:
    """Check that `subsets`, where the reduction has it, gives what one call per subset gives."""
    many = getattr(case.reduction, "subsets", None)
    if many is None:
        return
    size, clips = max(4, case.info.minimum_clips), len(case.clips.frames)
    rows = torch.stack([torch.arange(start, start + size) % clips for start in range(clips)])
    expected = torch.stack([case.judge(select(case.clips, row)) for row in rows.tolist()])
    promised = "subsets that have the values of one call each"
    require_equal(many(case.clips, case.reference)(rows), expected, promised, "mend `subsets`, or leave it out")


def large_sets(case: ReductionCase) -> None:
    """Check that what is kept of a large set, where the reduction says what it needs, gives the value of all frames."""
    of_moments, frames = getattr(case.reduction, "of_moments", None), case.clips.frames
    if of_moments is not None:
        found = of_moments(Moments.of(torch.cat(list(frames))), case.reference)
        require_equal(
            found, case.values, "the value of all frames, of their moments", "mend `of_moments`, or leave it out"
        )
    if case.info.pooled:
        means = Embeddings([each.double().mean(0, keepdim=True) for each in frames], case.clips.prompts)
        mend = "look at the clips' mean frames only, or declare pooled=False"
        require_equal(case.judge(means), case.values, "the value of all frames, of each clip's mean", mend)


def reference_matters(case: ReductionCase) -> None:
    """Check that another exemplar set gives other values."""
    _require_reference(case)
    centre = torch.cat(case.exemplars).double().mean(0)
    other = case.fit([(frames - centre) * sqrt(2) + centre + case.deviations for frames in case.exemplars])
    changed = not case.reduction(case.clips, other).allclose(case.values)
    mend = "read the reference, or declare needs_reference=False"
    require(changed, "values that depend on the exemplars", "the same for other exemplars", mend)


def direction(case: ReductionCase) -> None:
    """Check that clips that are moved away from the exemplars have lower rewards."""
    _require_reference(case)
    shift = AWAY * case.deviations.float()
    moved = case.judge(Embeddings([frames + shift for frames in case.clips.frames], case.clips.prompts))
    sign = case.info.direction.sign
    found = f"rewards {sign * case.values} near them, {sign * moved} at {AWAY} deviations"
    fell = bool((sign * moved < sign * case.values).all())
    require(fell, "rewards that fall away from the exemplars", found, "exchange Direction.LOWER and Direction.HIGHER")


def _require_reference(case: ReductionCase) -> None:
    declared = case.info.needs_reference
    require(declared, "a reduction that names needs_reference", "no reference", "correct the ReductionInfo")


def prompts_matter(case: ReductionCase) -> None:
    """Check that the prompts of other clips give other values."""
    prompts = None if case.clips.prompts is None else case.clips.prompts.roll(1, 0)
    changed = not case.judge(Embeddings(case.clips.frames, prompts)).allclose(case.values)
    mend = "read the prompts, or declare needs_prompts=False"
    require(changed, "values that depend on the prompts", "the same for other prompts", mend)
