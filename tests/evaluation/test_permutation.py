"""The permutation test: held against scipy, and its errors and power by simulation beside those of the win rates."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from support.parts import RATE, noise
from torch import Tensor

from dragon_rewards.evaluation import distribution_wins, instance_wins, matched_subsets, permutation_test
from dragon_rewards.media.clips import Clips
from dragon_rewards.registry import load_registry
from dragon_rewards.rewards import compose

PROMPTS, SIZE, ROUNDS = 60, 6, 10
SIMULATIONS = 400
# More rejections than this happen to a test with 5% once in a thousand times.
TOLERATED = stats.binom.isf(1e-3, SIMULATIONS, 0.05) / SIMULATIONS


def mean_of(clips: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda rows: clips[rows].mean(1)


def near_standard_normal(clips: Tensor) -> Callable[[Tensor], Tensor]:
    """Less the Fréchet distance of sets of one-dimensional clips from N(0, 1)."""
    return lambda rows: -(clips[rows].mean(1) ** 2 + (clips[rows].std(1) - 1) ** 2)


def models(shift: float) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Embeddings of two models on the same prompts; the second lies `shift` closer to the reference."""
    generator = np.random.default_rng(1)
    prompts = generator.normal(size=(SIMULATIONS, PROMPTS))
    before, after = (1 + 0.6 * prompts + 0.8 * generator.normal(size=prompts.shape) for _ in range(2))
    return list(zip(before, after - shift, strict=True))


def by_permutation(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    value = near_standard_normal(torch.from_numpy(np.concatenate([before, after])))
    return permutation_test(value, PROMPTS, permutations=199).p_value <= 0.05


def by_subsets(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    rows = torch.from_numpy(matched_subsets(PROMPTS, SIZE, ROUNDS, seed=0))
    old, new = (near_standard_normal(torch.from_numpy(model))(rows).numpy() for model in (before, after))
    return distribution_wins(old, new, PROMPTS // SIZE).lower > 0.5


def by_clips(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    return instance_wins(-np.abs(before), -np.abs(after)).lower > 0.5


def rejected(test: Callable[[NDArray[np.float64], NDArray[np.float64]], bool], shift: float) -> float:
    return float(np.mean([test(before, after) for before, after in models(shift)]))


@pytest.mark.parametrize("test", [by_permutation, by_subsets, by_clips])
def test_identical_models_seldom_differ(test: Callable[[NDArray[np.float64], NDArray[np.float64]], bool]) -> None:
    assert rejected(test, shift=0.0) <= TOLERATED


def test_the_permutation_test_uses_its_five_percent_and_sees_more_than_subsets() -> None:
    assert rejected(by_permutation, shift=0.0) >= 0.02
    seen = {test: rejected(test, shift=0.4) for test in (by_permutation, by_subsets)}
    assert seen[by_permutation] > 0.8
    assert seen[by_permutation] > seen[by_subsets] + 0.2


def test_p_agrees_with_scipy() -> None:
    generator = np.random.default_rng(3)
    before, after = generator.normal(size=8), generator.normal(0.5, size=8)
    theirs = stats.permutation_test(
        (before, after),
        lambda old, new, axis: new.mean(axis) - old.mean(axis),
        permutation_type="samples",
        vectorized=True,
        alternative="greater",
    )
    got = permutation_test(mean_of(torch.from_numpy(np.concatenate([before, after]))), 8, permutations=20_000)
    assert got.difference == pytest.approx(theirs.statistic)
    assert got.p_value == pytest.approx(theirs.pvalue, abs=0.01)  # scipy's is exact: all 256 exchanges


def test_equal_clips_are_no_evidence() -> None:
    clips = torch.randn(40, generator=torch.Generator().manual_seed(0)).double()
    got = permutation_test(near_standard_normal(torch.cat([clips, clips])), 40)
    assert (got.difference, got.p_value) == (0.0, 1.0)


def test_pairs_of_one_prompt_are_exchanged_together() -> None:
    """Twelve pairs of two prompts have four exchanges, and the observed one is reached by a quarter of them."""
    clips = torch.cat([torch.zeros(12), torch.ones(12)])
    got = permutation_test(mean_of(clips), 12, clusters=["hymn", "jig"] * 6)
    assert got.p_value == pytest.approx(0.25, abs=0.05)
    assert permutation_test(mean_of(clips), 12).p_value == 0.001


def test_the_seed_decides() -> None:
    clips = torch.randn(20, generator=torch.Generator().manual_seed(0))
    first, again, other = (permutation_test(mean_of(clips), 10, seed=seed).p_value for seed in (0, 0, 1))
    assert first == again != other


def test_a_real_reward_of_sets() -> None:
    """The same clip ten times is less diverse than ten."""
    different, alike = noise(10), noise(1, seed=1).repeat(10, 1)
    reward = compose("vendi:logmel", load_registry())
    clips = Clips.concatenate([Clips(alike, RATE), Clips(different, RATE)])
    got = permutation_test(reward.subsets(clips), 10)
    assert got.difference == pytest.approx(float(reward.value(clips.select(range(10, 20)))) - 1, rel=1e-5)
    assert got.p_value < 0.05


@pytest.mark.parametrize(("pairs", "permutations", "clusters"), [(0, 9, None), (3, 0, None), (3, 9, [1, 2])])
def test_nothing_to_exchange_is_refused(pairs: int, permutations: int, clusters: list[int] | None) -> None:
    with pytest.raises(ValueError, match="give 1 or more"):
        permutation_test(mean_of(torch.zeros(6)), pairs, clusters, permutations)
