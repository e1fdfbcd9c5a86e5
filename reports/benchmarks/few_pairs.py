"""How near D+ of few pairs comes to the best of all sets, and what that costs: few_pairs.csv, few_pairs.md.

python reports/benchmarks/few_pairs.py    # four minutes of one core

The gain of D+ over the better of A and B is given as a share of what the best set gains, over seeded instances in 8
dimensions, paired and without a pool. Up to 12 pairs all sets are valued, 2^n of them. Of more pairs the best is that
of 20 random sets and D+, after exchanges of one or two pairs as long as they gain.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from cases import embeddings
from run import machine

from dragon_rewards.metrics import Gaussian, dataset_fad_subsets, negated, select_positive, selection, vendi_subsets

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Value = Callable[[Tensor], Tensor]

HERE = Path(__file__).parent
DIM = 8
FRAMES = 8
RESTARTS = 20
INSTANCES = {8: 200, 10: 200, 12: 200, 16: 40, 24: 40, 32: 40}  # of as many pairs
RULES = {"all choices ranked": 16, "one leap, passes": 0}  # up to how many pairs all choices are ranked
DIMS = (8, 128, 512)  # in which D+ of the most pairs that are few is timed
TIMES = 5
ROUNDING = 1e-9  # relative difference of equal values


def fad(seed: int, pairs: int, dim: int = DIM, frames: int = FRAMES) -> Value:
    """Nearness of clips that differ by as much as their frames do."""
    clips = embeddings(seed, 2 * pairs, frames, dim) + embeddings(seed + 10_000, 2 * pairs, 1, dim)
    return negated(dataset_fad_subsets(list(clips), Gaussian.fit(embeddings(99_999, 5000, dim))))


def vendi(seed: int, pairs: int, dim: int = DIM) -> Value:
    """Diversity, a reward without an expansion."""
    return vendi_subsets(embeddings(seed, 2 * pairs, dim))


REWARDS: dict[str, Callable[[int, int], Value]] = {"dataset FAD": fad, "Vendi score": vendi}


def chosen(value: Value, pairs: int, rule: str) -> tuple[float, float]:
    """The reward of D+ by a rule, and the milliseconds of its one thread, whatever else runs."""
    selection.FEW = RULES[rule]
    started = time.process_time()
    found = select_positive(pairs, value).value
    return found, 1000 * (time.process_time() - started)


def best_of_all(value: Value, pairs: int) -> float:
    """The best reward of all sets that have one clip of each pair."""
    choices = (torch.arange(2**pairs).unsqueeze(1) >> torch.arange(pairs)) % 2
    return max(float(value(rows).max()) for rows in (torch.arange(pairs) + pairs * choices).split(512))


def best_of_restarts(value: Value, pairs: int, seed: int) -> float:
    """The best reward of random sets that no exchange of one or two pairs raises."""
    starts = torch.rand(RESTARTS, pairs, generator=torch.Generator().manual_seed(seed)) < 0.5
    return max(climbed(value, start) for start in starts)


def climbed(value: Value, choice: Tensor) -> float:
    """The reward after the best exchange of one pair, else of two, again and again while it gains."""
    pairs = len(choice)
    ones, (first, second) = torch.eye(pairs, dtype=torch.bool), torch.triu_indices(pairs, pairs, offset=1)
    current, neighbourhoods = -float("inf"), (torch.zeros(1, pairs, dtype=torch.bool), ones, ones[first] | ones[second])
    while True:
        for flips in neighbourhoods:
            values = value(torch.arange(pairs) + pairs * (choice ^ flips).long())
            if not _equal(risen := max(current, float(values.max())), current):
                choice, current = choice ^ flips[int(values.argmax())], risen
                break
        else:
            return current


def _equal(value: float, other: float) -> bool:
    return abs(value - other) <= ROUNDING * abs(value)


def instance(reward: str, pairs: int, seed: int) -> list[dict[str, Any]]:
    """A row for each rule: the share of the gain, whether it is all there is, and the time."""
    value = REWARDS[reward](seed, pairs)
    start = float(value(torch.arange(2 * pairs).view(2, pairs)).max())
    rules = [rule for rule, few in RULES.items() if pairs <= few or not few]
    found = {rule: chosen(value, pairs, rule) for rule in rules}
    most = best_of_all(value, pairs) if pairs <= 12 else best_of_restarts(value, pairs, seed)
    most = max(most, *(reached for reached, _ in found.values()))
    return [
        {
            "reward": reward,
            "pairs": pairs,
            "rule": rule,
            "gain": 1.0 if _equal(most, start) else (reached - start) / (most - start),
            "best": _equal(most, reached),
            "ms": spent,
        }
        for rule, (reached, spent) in found.items()
    ]


def gains() -> pd.DataFrame:
    """Mean and worst gain of each rule, how often it found the best, and its median time."""
    cases = ((reward, pairs, seed) for reward in REWARDS for pairs, count in INSTANCES.items() for seed in range(count))
    rows = pd.DataFrame([row for case in cases for row in instance(*case)])
    grouped = rows.groupby(["reward", "pairs", "rule"], sort=False)
    return grouped.agg(
        instances=("gain", "size"),
        mean=("gain", "mean"),
        worst=("gain", "min"),
        best=("best", "mean"),
        ms=("ms", "median"),
    ).reset_index()


def costs() -> pd.DataFrame:
    """Milliseconds of D+ of 12 pairs of 32-frame clips by the distance, and by the diversity of their means."""
    values: dict[str, Callable[[int], Value]] = {
        "dataset FAD": lambda dim: fad(0, 12, dim, 32),
        "Vendi score": lambda dim: vendi(0, 12, dim),
    }
    return pd.DataFrame(
        [
            {"reward": reward, "d": dim}
            | {f"ms, {rule}": median(chosen(value(dim), 12, rule)[1] for _ in range(TIMES)) for rule in RULES}
            for reward, value in values.items()
            for dim in DIMS
        ]
    )


def write(found: pd.DataFrame) -> None:
    """Write the gains in full, and both tables."""
    found.to_csv(HERE / "few_pairs.csv", index=False)
    tables = (table.to_markdown(index=False, floatfmt=".4g") for table in (found, costs()))
    (HERE / "few_pairs.md").write_text("\n\n".join([machine("cpu"), *tables]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    write(gains())
