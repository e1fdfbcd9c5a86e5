from __future__ import annotations

import itertools
import pickle
from math import exp, inf, log

import mpmath  # type: ignore[import-untyped]
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.metric_cases import dims, embeddings, rotation, seeds, thorough
from vendi_score import vendi  # type: ignore[import-untyped]

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import vendi_score, vendi_subsets

orders = st.sampled_from([0.0, 0.3, 1.0, 2.0, 7.5, 100.0, inf])
counts = st.integers(1, 9)


@thorough
@given(seeds, counts, dims, orders)
def test_the_score_lies_between_one_and_the_smaller_side(seed: int, count: int, dim: int, q: float) -> None:
    score = float(vendi_score(embeddings(seed, count, dim), q))
    assert 1 - 1e-9 <= score <= min(count, dim) + 1e-9


@thorough
@given(seeds, counts, dims)
def test_the_score_falls_with_the_order(seed: int, count: int, dim: int) -> None:
    clips = embeddings(seed, count, dim)
    scores = [float(vendi_score(clips, q)) for q in (0, 0.5, 1, 2, 10, inf)]
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(scores))


@thorough
@given(seeds, counts, dims, orders)
def test_order_length_and_rotation_of_embeddings_are_irrelevant(seed: int, count: int, dim: int, q: float) -> None:
    clips = embeddings(seed, count, dim)
    stretched = clips.flip(0) * torch.logspace(-4, 4, count, dtype=torch.float64).unsqueeze(1)
    before, after = vendi_score(clips, q), vendi_score(stretched @ rotation(seed, dim), q)
    assert torch.isclose(before, after, rtol=1e-9)


@pytest.mark.parametrize("q", [0, 0.5, 1, 2, inf])
def test_distinct_clips_count_fully_and_copies_not_at_all(q: float) -> None:
    assert vendi_score(torch.eye(5), q).item() == pytest.approx(5, rel=1e-12)
    assert vendi_score(torch.eye(5).repeat(3, 1), q).item() == pytest.approx(5, rel=1e-12)
    assert vendi_score(torch.ones(7, 3), q).item() == pytest.approx(1, rel=1e-12)


def test_shares_of_a_known_spectrum() -> None:
    clips = torch.tensor([[1.0, 0.0]] * 3 + [[0.0, 1.0]])
    assert vendi_score(clips).item() == pytest.approx(exp(-0.75 * log(0.75) - 0.25 * log(0.25)), rel=1e-12)
    assert vendi_score(clips, 2).item() == pytest.approx(1 / (0.75**2 + 0.25**2), rel=1e-12)
    assert vendi_score(clips, 0).item() == pytest.approx(2, rel=1e-12)
    assert vendi_score(clips, inf).item() == pytest.approx(4 / 3, rel=1e-12)


@pytest.mark.parametrize("shape", [(3, 6), (6, 3)])
@pytest.mark.parametrize("q", [0.5, 1, 3])
@pytest.mark.parametrize(("offset", "bound"), [(0, 1e-12), (1e4, 1e-10)])  # measured 1e-15, 1.9e-12
def test_both_forms_are_the_score_of_40_digits(shape: tuple[int, int], q: float, offset: float, bound: float) -> None:
    clips = embeddings(5, *shape) + offset
    with mpmath.workdps(40):
        units = mpmath.matrix(clips.tolist())
        for i in range(shape[0]):
            units[i, :] = units[i, :] / mpmath.norm(units[i, :])
        values = mpmath.eigsy(units * units.T / shape[0], eigvals_only=True)
        shares = [value for value in values if value > mpmath.mpf(10) ** -30]
        power = mpmath.fsum(share**q for share in shares)
        entropy = -mpmath.fsum(p * mpmath.log(p) for p in shares) if q == 1 else mpmath.log(power) / (1 - q)
        expected = float(mpmath.exp(entropy))
    assert float(vendi_score(clips, q)) == pytest.approx(expected, rel=bound)


@pytest.mark.filterwarnings("ignore:.*scipy.sparse.csr.*:DeprecationWarning")
@pytest.mark.parametrize("q", [0.1, 0.5, 1, 2, inf])
@pytest.mark.parametrize("shape", [(3, 7), (40, 128), (7, 3), (400, 24)])
def test_the_score_is_that_of_the_authors_package(shape: tuple[int, int], q: float) -> None:
    """By whichever of its functions has no eigenvalue of zero: rounded to 1e-17, it counts there for small orders."""
    clips = embeddings(5, *shape)
    units, order = (clips / clips.norm(dim=1, keepdim=True)).numpy(), "inf" if q == inf else q
    theirs = vendi.score_K(units @ units.T, q=order) if shape[0] <= shape[1] else vendi.score_dual(units, q=order)
    assert float(vendi_score(clips, q)) == pytest.approx(float(theirs), rel=1e-12)  # measured 2.3e-15


@pytest.mark.parametrize("shape", [(4, 6), (9, 3)])
@pytest.mark.parametrize("q", [0.5, 1, 2, inf])
def test_gradients_are_finite_differences(shape: tuple[int, int], q: float) -> None:
    clips = embeddings(2, *shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: vendi_score(x, q), clips)


@pytest.mark.parametrize("q", [0, 0.5, 1, 2, inf])
def test_gradients_of_copies_are_finite(q: float) -> None:
    clips = embeddings(2, 3, 6).repeat(2, 1).requires_grad_()
    (slope,) = torch.autograd.grad(vendi_score(clips, q), clips)
    assert slope.isfinite().all()


@pytest.mark.parametrize("q", [0.5, 1, 2])
def test_gradients_at_repeated_eigenvalues_are_finite_differences(q: float) -> None:
    clips = (torch.eye(4, 6).double() @ rotation(1, 6)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: vendi_score(x, q), clips)


@thorough
@given(seeds, dims, orders, st.integers(1, 7))
def test_subsets_are_the_scores_of_their_clips(seed: int, dim: int, q: float, size: int) -> None:
    clips = embeddings(seed, 8, dim)
    rows = torch.randint(8, (5, size), generator=torch.Generator().manual_seed(seed))
    direct = torch.stack([vendi_score(clips[row], q) for row in rows])
    assert torch.allclose(vendi_subsets(clips, q)(rows), direct, rtol=1e-9)


def test_subsets_in_small_batches_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    clips, rows = embeddings(0, 6, 4), torch.combinations(torch.arange(6), 3)
    whole = vendi_subsets(clips)(rows)
    monkeypatch.setattr("dragon_rewards.metrics.vendi.BATCH_ELEMENTS", 20)
    assert torch.allclose(vendi_subsets(clips)(rows), whole, rtol=1e-12)


def test_prepared_subsets_pickle() -> None:
    subsets, rows = vendi_subsets(embeddings(0, 6, 4), 2.0), torch.tensor([[0, 3, 5]])
    assert torch.equal(pickle.loads(pickle.dumps(subsets))(rows), subsets(rows))  # noqa: S301


@pytest.mark.parametrize(
    ("clips", "q", "cause"),
    [
        (torch.ones(0, 3), 1.0, "0 frame"),
        (torch.ones(3), 1.0, "must be a matrix"),
        (torch.tensor([[1.0], [torch.nan]]), 1.0, "NaN"),
        (torch.tensor([[1.0, 0.0], [0.0, 0.0]]), 1.0, "embedding 1 is zero"),
        (torch.ones(2, 2), -1.0, "order q .* not -1"),
        (torch.ones(2, 2), torch.nan, "order q .* not nan"),
    ],
)
def test_sets_without_a_score_are_refused(clips: torch.Tensor, q: float, cause: str) -> None:
    with pytest.raises(DragonError, match=cause):
        vendi_score(clips, q)
    with pytest.raises(DragonError, match=cause):
        vendi_subsets(clips, q)


def test_rows_beyond_the_clips_are_refused() -> None:
    with pytest.raises(DragonError, match="indices 0 to 3, and there are 3 clips"):
        vendi_subsets(torch.eye(3))(torch.tensor([[0, 3]]))
