"""Read shares of a tuning, and list the ways in which the parts of a denoiser may differ in them; without torch."""

from __future__ import annotations

import math

from dragon_rewards.errors import ConfigError

Shares = tuple[float, ...]  # of each part of the denoiser, or of curves one after the other

SHARES, PARTS = "0,0.2,0.4,0.6,0.8,1", 3  # what is measured by default; of six and nine parts the paper warns
UNTUNED, TUNED = 0.0, 1.0
STEPS = (0.2, 0.4)  # what one part has more of, and its neighbour less
DIGITS = 10  # of a sum of shares: 0.6 - 0.4 is 0.2


def read_shares(text: str, option: str) -> Shares:
    """Read shares that are separated by commas.

    Args:
        text: what was given.
        option: the command-line option that took it, for error messages.

    Raises:
        ConfigError: one is no number from 0 to 1.

    >>> read_shares("0,0.5,1", "--shares")
    (0.0, 0.5, 1.0)
    """
    return tuple(_share(each.strip(), option) for each in text.split(","))


def _share(text: str, option: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not UNTUNED <= value <= TUNED:  # nor is NaN
        raise ConfigError(f"{option}: '{text}' is no number from 0 (untuned) to 1 (tuned); give shares such as 0,0.5,1")
    return value


def inner(shares: Shares) -> Shares:
    """Return the shares that are neither the untuned nor the tuned model's, of which parts may have more or less."""
    return tuple(share for share in shares if UNTUNED < share < TUNED)


def candidates(mean: float, parts: int) -> list[Shares]:
    """Return shares for each part with a given mean, in which the parts differ.

    One part has 0.2 or 0.4 more than the mean, and a neighbour of it as much less; the last part is a neighbour of the
    first. Where a share would leave [0, 1] there is no such candidate. Three parts have at most 12, K parts 4 K.

    >>> candidates(0.2, 3)[0], len(candidates(0.2, 3)), len(candidates(0.4, 3)), candidates(0.5, 1)
    ((0.4, 0.0, 0.2), 6, 12, [])
    """
    found = [
        _moved(mean, parts, step, up, down)
        for step in STEPS
        for up in range(parts)
        for down in dict.fromkeys([(up + 1) % parts, (up - 1) % parts])
        if up != down and step <= round(min(mean, TUNED - mean), DIGITS)
    ]
    return [tuple(shares) for shares in found]


def _moved(mean: float, parts: int, step: float, up: int, down: int) -> list[float]:
    shares = [mean] * parts
    shares[up], shares[down] = round(mean + step, DIGITS), round(mean - step, DIGITS)
    return shares
