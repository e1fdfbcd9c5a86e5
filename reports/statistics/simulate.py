"""How often the tests of an evaluation err on two equal models, and what they see of a better one: tables beside this.

    python reports/statistics/simulate.py

Two models make clips for the same prompts. A clip is a normal draw in 8 dimensions, 0.6 of it the prompt's, and the
tuned model's lie `shift` standard deviations nearer the reference in the first. Clips are judged by their distance from
the reference, sets by the Fréchet distance of their Gaussian. Takes minutes on one core; seeds are fixed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from dragon_rewards.evaluation import (
    cluster_interval,
    controlled_win_rate,
    distribution_wins,
    instance_wins,
    matched_subsets,
    permutation_test,
    prompts_for_power,
    prompts_for_width,
    set_change,
)
from dragon_rewards.metrics import Gaussian, dataset_fad_subsets, vendi_subsets
from dragon_rewards.storage.results import write_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

HERE = Path(__file__).parent
DIM, PROMPTS, SUBSET, ROUNDS = 8, 192, 12, 25  # prompts, subsets and rounds as in the preset quick
OFFSET, SHARED = 1.0, 0.6
SIMULATIONS = {0.0: 2000, 0.1: 200, 0.2: 200, 0.3: 200}  # by shift: an error of 5% must be told from one of 6%
PERMUTATIONS = 99
LEVEL = 0.05


def models(
    shift: float, prompts: int, simulations: int, dim: int = DIM
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Clips (prompts, dim) of an untuned model and of one that is better by `shift`."""
    generator = np.random.default_rng(7)
    near = np.eye(1, dim)[0]
    for _ in range(simulations):
        shared = SHARED * generator.normal(size=(prompts, dim))
        own = np.sqrt(1 - SHARED**2) * generator.normal(size=(2, prompts, dim))
        before, after = OFFSET * near + shared + own
        yield before, after - shift * near


def value_of(clips: NDArray[np.float64]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Less the Fréchet distance of sets of clips from the standard normal distribution."""
    reference = Gaussian(torch.zeros(DIM).double(), torch.eye(DIM).double(), 10_000)
    metric = dataset_fad_subsets([clip[None] for clip in torch.from_numpy(clips).float()], reference)
    return lambda rows: -metric(rows)


def permutation_shows(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """By exchanging clips between sets of all prompts."""
    value = value_of(np.concatenate([before, after]))
    return permutation_test(value, len(before), permutations=PERMUTATIONS).p_value <= LEVEL


def subsets_show(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """By matched subsets, as many as are disjoint."""
    rows = torch.from_numpy(matched_subsets(len(before), SUBSET, ROUNDS, seed=0))
    old, new = (value_of(clips)(rows).numpy() for clips in (before, after))
    return distribution_wins(old, new, len(before) // SUBSET).lower > 0.5


def clips_show(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """By win rate of clips."""
    return instance_wins(*(-np.linalg.norm(clips, axis=1) for clips in (before, after))).lower > 0.5


def share(test: Callable[[NDArray[np.float64], NDArray[np.float64]], bool], shift: float) -> float:
    """How often a test sees a difference."""
    return float(np.mean([test(*pair) for pair in models(shift, PROMPTS, SIMULATIONS[shift])]))


def errors_and_power() -> pd.DataFrame:
    """A row per shift."""
    tests = {"permutation": permutation_shows, "subsets": subsets_show, "clips": clips_show}
    rows = [
        {"shift": shift, "simulations": count, **{name: share(test, shift) for name, test in tests.items()}}
        for shift, count in SIMULATIONS.items()
    ]
    return pd.DataFrame(rows)


def covered(clusters: int, simulations: int = 1000) -> float:
    """How often the 95% bootstrap interval of a mean of normal prompts, three clips each, holds the true mean."""
    generator, places = np.random.default_rng(3), np.repeat(np.arange(clusters), 3)
    hits = 0
    for _ in range(simulations):
        values = generator.normal(size=clusters)[places] + 0.5 * generator.normal(size=3 * clusters)
        interval = cluster_interval(values, places)
        hits += interval.low <= 0 <= interval.high
    return hits / simulations


def vendi_of(clips: NDArray[np.float64]) -> Callable[[torch.Tensor], torch.Tensor]:
    """The Vendi score of sets of clips that have a direction in common, as embeddings of music do."""
    return vendi_subsets(torch.from_numpy(1 + clips).float())


def halves_cover(metric: str, prompts: int, shift: float = 0.3, simulations: int = 400) -> dict[str, float | str]:
    """How often the intervals of random halves hold the mean of such sets, and if known the value of an endless one."""
    value, dim, endless = {
        "frechet": (value_of, DIM, {"before": -(OFFSET**2), "change": OFFSET**2 - (OFFSET - shift) ** 2}),
        "vendi": (vendi_of, 4 * DIM, {"before": np.nan, "change": np.nan}),
    }[metric]
    pairs = (np.concatenate(pair) for pair in models(shift, prompts, simulations, dim))
    found = [set_change(value(clips), prompts, halves=100) for clips in pairs]
    row: dict[str, float | str] = {"metric": metric, "prompts": prompts}
    for side, true in endless.items():
        ends = np.array([[each.low, each.mean, each.high] for each in (getattr(change, side) for change in found)])
        mean = float(ends[:, 1].mean())
        row[f"{side}_such_sets"] = float(((ends[:, 0] <= mean) & (mean <= ends[:, 2])).mean())
        if np.isfinite(true):
            row[f"{side}_endless"] = float(((ends[:, 0] <= true) & (true <= ends[:, 2])).mean())
            row[f"{side}_bias"] = mean - true
    return row


def controlled(louder: float, own: float, simulations: int = 100) -> dict[str, float]:
    """A reward of loudness, 0.1 a decibel, and a gain of its own beside, on clips that became louder."""
    generator, found = np.random.default_rng(5), []
    for _ in range(simulations):
        change = generator.normal(louder, 1.5, PROMPTS)
        gain = 0.1 * change + own + generator.normal(0, 0.3, PROMPTS)
        interval = controlled_win_rate(np.zeros(PROMPTS), gain, change[:, None], range(PROMPTS))
        assert interval is not None
        found.append((float((gain > 0).mean()), interval.mean, interval.low > 0.5))
    plain, rate, shown = np.mean(found, 0).tolist()
    return {
        "louder_by": louder,
        "own_gain": own,
        "win_rate": plain,
        "controlled": rate,
        "interval_above_half": shown,
    }


def main() -> None:
    """Write all tables."""
    rows = [{"prompts": count, "covered": covered(count)} for count in (10, 20, 50, 100)]
    write_table(HERE / "coverage", pd.DataFrame(rows))
    cases = [(metric, count) for metric in ("frechet", "vendi") for count in (24, 48, 96, 192)]
    write_table(HERE / "halves", pd.DataFrame([halves_cover(*case) for case in cases]))
    louder = [(0.0, 0.0), (3.0, 0.0), (0.0, 0.2), (3.0, 0.2)]
    write_table(HERE / "controlled", pd.DataFrame([controlled(*case) for case in louder]))
    plans = [{"win_rate": rate, "prompts": prompts_for_power(rate)} for rate in (0.55, 0.6, 0.65, 0.7, 0.8, 0.9)]
    write_table(HERE / "prompts_for_power", pd.DataFrame(plans))
    widths = [{"half_width": half, "prompts": prompts_for_width(half)} for half in (0.15, 0.1, 0.05, 0.03)]
    write_table(HERE / "prompts_for_width", pd.DataFrame(widths))
    write_table(HERE / "power", errors_and_power())


if __name__ == "__main__":
    main()
