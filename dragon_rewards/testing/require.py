"""Report a check that fails: what was promised, what was found, and how to mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-4  # of the largest magnitude: float32 products in another order, through the layers of a large model
DEVICE_ROUNDING = 1e-2  # the same on two devices: convolutions on a GPU keep 10 bits of a factor (TF32)


def require(kept: object, promised: str, found: str, mend: str) -> None:
    """Fail the check unless the promise is kept.

    Args:
        kept: whether it is kept, by its truth.
        promised: what was promised.
        found: what was found instead.
        mend: how to mend it.

    Raises:
        AssertionError: the promise is not kept.
    """
    if not kept:
        raise AssertionError(f"promised: {promised}\nfound: {found}\nto mend it: {mend}")


def require_texts(info: object, *names: str) -> None:
    """Require that each of these attributes is a text that says something.

    Raises:
        AssertionError: one is not a text, or is empty.
    """
    for name in names:
        value = getattr(info, name)
        told = isinstance(value, str) and value.strip()
        require(told, f"{name} is a text that is not empty", repr(value), "fill it in")


def require_equal(found: Tensor, expected: Tensor, promised: str, mend: str, rounding: float = ROUNDING) -> None:
    """Require that values are equal to the expected ones up to rounding.

    Args:
        found: the values.
        expected: what they should be.
        promised: what was promised, for the message.
        mend: how to mend it, for the message.
        rounding: how much they may differ, as a share of the largest expected magnitude.

    Raises:
        AssertionError: the shapes or the values differ.
    """
    shapes = f"shapes {tuple(found.shape)} and {tuple(expected.shape)}"
    require(found.shape == expected.shape, promised, shapes, mend)
    difference, largest = _largest(found.double() - expected.double()), _largest(expected)
    report = f"a difference of {difference:.3g} where the largest value is {largest:.3g} (allowed: {rounding:g} of it)"
    require(difference <= rounding * largest, promised, report, mend)


def _largest(values: Tensor) -> float:
    return float(values.detach().abs().max()) if values.numel() else 0.0
