"""The mark `pairwise(NAME=VALUES, ...)`: a test runs with a selection of the combinations, in which all pairs occur.

Most faults that depend on settings depend on one or two of them (Kuhn, Wallace and Gallo, "Software fault
interactions and implications for software testing", IEEE TSE 30(6), 2004). `--full-product` runs all combinations.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


def covering(values: Sequence[Sequence[object]]) -> list[tuple[object, ...]]:
    """Select rows of a product in which every pair of values of two parameters occurs.

    Greedy and deterministic: each row is the first of those with the most pairs that none before it has. With one
    parameter, every value occurs.
    """
    order = [range(len(each)) for each in values]
    pairs = {row: set(combinations(enumerate(row), min(2, len(row)))) for row in product(*order)}
    left = set[tuple[tuple[int, int], ...]]().union(*pairs.values())
    rows = []
    while left:
        rows.append(max(pairs, key=lambda row: len(pairs[row] & left)))
        left -= pairs[rows[-1]]
    return [tuple(each[at] for each, at in zip(values, row, strict=True)) for row in rows]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option, which names what takes too long for every run."""
    parser.addoption("--full-product", action="store_true", help="Run all combinations of what is marked `pairwise`.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Makes the cases of a test that is marked."""
    for mark in metafunc.definition.iter_markers("pairwise"):
        values = list(mark.kwargs.values())
        rows = list(product(*values)) if metafunc.config.getoption("--full-product") else covering(values)
        metafunc.parametrize(list(mark.kwargs), rows)
