"""Products and eigenvalues agree, whichever library makes them, and carry gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

import pytest
import torch
from hypothesis import given
from support.metric_cases import dims, embeddings, seeds, thorough
from torch import Tensor

from dragon_rewards.metrics import Gaussian
from dragon_rewards.metrics.linalg import (
    STRIP,
    _by_mirrored_eigenvalues,
    congruent_eigenvalues,
    eigenvalues,
    pivots,
    scatter,
    singular_values,
    times_lower,
    well_conditioned,
)

WIDE = 2 * STRIP + 5  # three strips, the last one short
LOWER = embeddings(3, WIDE, WIDE).tril()
OPERATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "scatter": (scatter, lambda x: x.mT @ x),
    "times_lower": (lambda x: times_lower(x, LOWER), lambda x: x @ LOWER),
    "congruent_eigenvalues": (
        lambda x: congruent_eigenvalues(x.mT @ x, LOWER),
        lambda x: torch.linalg.eigvalsh(LOWER.T @ x.mT @ x @ LOWER),
    ),
    "eigenvalues": (lambda x: eigenvalues(x.mT @ x), lambda x: torch.linalg.eigvalsh(x.mT @ x)),
}


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(7, WIDE), (3, 7, WIDE)])
def test_every_library_finds_the_same(name: str, shape: tuple[int, ...]) -> None:
    operation, plain = OPERATIONS[name]
    frames = embeddings(0, prod(shape[:-1]), WIDE).view(shape)
    expected = plain(frames)
    atol = 1e-13 * float(expected.abs().max())
    torch.testing.assert_close(operation(frames), expected, rtol=1e-12, atol=atol)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_flow_and_constants_stay_constant(name: str) -> None:
    operation, plain = OPERATIONS[name]
    first, second = (embeddings(1, 9, WIDE).requires_grad_() for _ in range(2))
    operation(first).square().sum().backward()
    plain(second).square().sum().backward()
    assert first.grad is not None
    torch.testing.assert_close(first.grad, second.grad, rtol=1e-9, atol=1e-12 * float(first.grad.abs().max()))
    with torch.no_grad():
        assert not operation(first).requires_grad


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("shape", [(WIDE + 3, WIDE), (3, WIDE + 3, WIDE)])
def test_pivots_are_the_diagonal_of_the_cholesky_factor(shape: tuple[int, ...]) -> None:
    squares = scatter(embeddings(0, prod(shape[:-1]), WIDE).view(shape))
    expected = torch.linalg.cholesky(squares).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(pivots(squares), expected, rtol=1e-9, atol=0)


@pytest.mark.usefixtures("threads")
def test_a_matrix_without_a_cholesky_factor_has_no_pivots_and_no_good_condition() -> None:
    squares = torch.stack([torch.eye(3).double(), torch.diag(torch.tensor([1.0, -1.0, 1.0]).double())])
    assert pivots(squares).isnan().all(1).tolist() == [False, True]
    assert well_conditioned(squares, pivots(squares)).tolist() == [True, False]


@pytest.mark.parametrize("shape", [(7, 5), (5, 7), (4, 9, 9)])
def test_singular_values_are_the_eigenvalues_of_the_mirrored_triangle(shape: tuple[int, ...]) -> None:
    frames = embeddings(0, prod(shape[:-1]), shape[-1]).view(shape)
    frames = frames * torch.logspace(0, -12, shape[-1], dtype=torch.float64)
    tall = frames if shape[-2] >= shape[-1] else frames.mT
    mirrored = _by_mirrored_eigenvalues(tall).flip(-1)
    atol = 1e-14 * float(mirrored.max())
    torch.testing.assert_close(mirrored, torch.linalg.svdvals(frames), rtol=0, atol=atol)
    torch.testing.assert_close(singular_values(frames), torch.linalg.svdvals(frames), rtol=0, atol=atol)


@thorough
@given(seeds, dims)
def test_the_factor_is_lower_triangular_and_of_the_covariance(seed: int, dim: int) -> None:
    gaussian = Gaussian.fit(embeddings(seed, 2 + seed % 9, dim))  # often of fewer frames than dimensions
    assert torch.equal(gaussian.factor, gaussian.factor.tril())
    product = gaussian.factor @ gaussian.factor.T
    torch.testing.assert_close(product, gaussian.covariance, rtol=0, atol=1e-13 * float(gaussian.covariance.trace()))
