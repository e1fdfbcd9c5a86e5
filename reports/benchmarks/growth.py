"""How the cost of every metric grows with the clips n and the dimensions d, measured and fitted.

python reports/benchmarks/growth.py      # about 7 minutes on two cores
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pandas as pd
from cases import embeddings
from scipy.optimize import nnls

from dragon_rewards.metrics import (
    Gaussian,
    clip_contributions,
    dataset_fad,
    dataset_fad_subsets,
    kernel_audio_distance,
    negated,
    per_song_fad,
    prdc,
    select_positive,
    vendi_score,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray
    from torch import Tensor

HERE = Path(__file__).parent
FRAMES = 30  # of every clip
DIMS = (64, 128, 256, 512)
EXPECTED = (1_000, 10_000, 100_000)
ENOUGH = 20.0  # seconds: a call that took longer is not repeated
UNITS = ((3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"))


@dataclass(frozen=True)
class Metric:
    """A metric of n clips, or n pairs of clips, and the sizes at which it is measured."""

    name: str
    sizes: tuple[int, ...]
    prepare: Callable[[int, int], Callable[[], object]]


def _clips(count: int, dim: int) -> tuple[list[Tensor], Gaussian]:
    return list(embeddings(1, count, FRAMES, dim).float()), Gaussian.fit(embeddings(0, 5000, dim))


def _per_song(count: int, dim: int) -> Callable[[], object]:
    clips, reference = _clips(count, dim)
    return lambda: per_song_fad(clips, reference)


def _dataset(count: int, dim: int) -> Callable[[], object]:
    clips, reference = _clips(count, dim)
    return lambda: dataset_fad(clips, reference)


def _contributions(count: int, dim: int) -> Callable[[], object]:
    clips, reference = _clips(count, dim)
    return lambda: clip_contributions(clips, reference)


def _selection(pairs: int, dim: int) -> Callable[[], object]:
    clips, reference = _clips(2 * pairs, dim)
    return lambda: select_positive(pairs, negated(dataset_fad_subsets(clips, reference)))


def _vendi(count: int, dim: int) -> Callable[[], object]:
    clips = embeddings(1, count, dim)
    return lambda: vendi_score(clips)


def _kernel(count: int, dim: int) -> Callable[[], object]:
    x, y = embeddings(1, count, dim), embeddings(2, count, dim)
    return lambda: kernel_audio_distance(x, y)


def _prdc(count: int, dim: int) -> Callable[[], object]:
    x, y = embeddings(1, count, dim), embeddings(2, count, dim)
    return lambda: prdc(x, y)


METRICS = [
    Metric("per-song FAD of n clips of 30 frames", (100, 1_000, 3_000, 10_000), _per_song),
    Metric("dataset FAD of n clips of 30 frames", (100, 1_000, 3_000, 10_000), _dataset),
    Metric("contributions of n clips of 30 frames", (16, 64, 128, 256), _contributions),
    Metric("selection of D+ from n pairs of 30 frames", (16, 64, 256, 512), _selection),
    Metric("Vendi score of n clips", (100, 1_000, 10_000, 100_000), _vendi),
    Metric("KAD of n clips from n", (100, 1_000, 3_000, 10_000), _kernel),
    Metric("precision, recall, density, coverage of n clips and n", (100, 300, 1_000, 3_000), _prdc),
]


def measured(metric: Metric) -> pd.DataFrame:
    """Seconds at each size and dimension."""
    sizes = product(DIMS, metric.sizes)
    return pd.DataFrame([{"metric": metric.name, "n": n, "d": d, "seconds": _seconds(metric, n, d)} for d, n in sizes])


def _seconds(metric: Metric, count: int, dim: int) -> float:
    """The least of up to three calls."""
    call = metric.prepare(count, dim)
    times: list[float] = []
    while len(times) < 3 and sum(times) < ENOUGH:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def fitted(found: pd.DataFrame) -> tuple[float, float]:
    """Exponents a and b of seconds = c n^a d^b, by least squares over the larger n, where overhead counts less."""
    large = found[found["n"] > found["n"].min()]
    design = np.column_stack([np.ones(len(large)), np.log(large["n"]), np.log(large["d"])])
    _, a, b = np.linalg.lstsq(design, np.log(large["seconds"]), rcond=None)[0].tolist()
    return a, b


def expected(found: pd.DataFrame) -> dict[str, str]:
    """Time for 1,000, 10,000 and 100,000 clips at d=512: measured, or (~) by the fit of a + b n + c n^2."""
    line = found[found["d"] == DIMS[-1]].set_index("n")["seconds"]
    terms = nnls(_powers(line.index) / line.to_numpy()[:, None], np.ones(len(line)))[0]  # relative errors, terms >= 0
    predicted = dict(zip(EXPECTED, _powers(EXPECTED) @ terms, strict=True))
    a, b = fitted(found)
    times = {f"n = {n:,}": _shown(line[n]) if n in line else f"~ {_shown(predicted[n])}" for n in EXPECTED}
    return {"metric": found["metric"].iloc[0], "grows as": f"n^{a:.1f} d^{b:.1f}", **times}


def _powers(counts: Iterable[int]) -> NDArray[np.float64]:
    return np.array([[1, n, n**2] for n in counts], dtype=float)


def _shown(seconds: float) -> str:
    size, unit = next((size, unit) for size, unit in UNITS if seconds >= size)
    return f"{float(f'{seconds / size:.2g}'):g} {unit}"


def draw(found: pd.DataFrame) -> None:
    """One panel per metric, one line per dimension."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "growth"  # the same figures give the same file
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(14, 6.5), layout="constrained")
    for panel, (name, own) in zip(axes.flat, found.groupby("metric", sort=False), strict=False):
        for dim, line in own.groupby("d"):
            panel.loglog(line["n"], line["seconds"], marker="o", label=f"d={dim}")
        panel.set(title=f"{name}\n{expected(own)['grows as']}", xlabel="n", ylabel="seconds")
        panel.title.set_fontsize(9)
        panel.minorticks_off()  # their labels overlap where n spans little
    axes.flat[0].legend()
    for panel in axes.flat[found["metric"].nunique() :]:
        panel.set_axis_off()
    figure.savefig(HERE / "growth.svg", metadata={"Date": None})


def main() -> None:
    """Write what was measured, the figure, and the table of what to expect."""
    found = pd.concat([measured(metric) for metric in METRICS], ignore_index=True)
    found.to_csv(HERE / "growth.csv", index=False)
    rows = [expected(own) for _, own in found.groupby("metric", sort=False)]
    (HERE / "growth.md").write_text(pd.DataFrame(rows).to_markdown(index=False) + "\n", encoding="utf-8")
    draw(found)


if __name__ == "__main__":
    main()
