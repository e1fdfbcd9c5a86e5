"""Find the facets of what scores high before tuning, and tell which of them a tuned model makes.

The idea is of multifaceted feature visualisation (arXiv 1602.03616): what excites a unit comes in several kinds, which
are found by clustering the inputs that excite it most. Here the unit is a reward, and the inputs are held-out clips of
the untuned model. A run that has hacked its reward makes one kind alone, or clips that are of no kind.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from scipy.stats import binomtest

from dragon_rewards import compose
from dragon_rewards.compute.devices import CPU
from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation.score_tables import BASELINE
from dragon_rewards.metrics import Facets
from dragon_rewards.metrics.frames import clip_means
from dragon_rewards.ranking import credits_of
from dragon_rewards.storage.results import known, write_table
from dragon_rewards.terminal.printable import counted
from dragon_train.bench.permutation import AGAIN, read_embeddings
from dragon_train.bench.result_files import EMBEDDINGS, FACETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.media.media import Encoded
    from dragon_rewards.rewards import Reward
    from dragon_train.bench.benchmark import Benchmark

SHARE = 4  # of the clips a quarter scores high: a tenth of 192 would be two clips for each of eight facets
MOST, LEAST = 8, 6  # facets; clips that score high for each of them
SHOWN = 3  # clips by which a facet is shown
QUANTILE, EVEN, LEVEL = 0.99, 0.5, 0.05
FAR = "far"
TEXT = (
    "Of what kinds is what scores high? The best quarter of the untuned clips under a run's reward falls into facets: "
    f"clusters in the space of the reward's encoder, two to {MOST}, as many as part best. `untuned` and `tuned` are "
    f"the shares of all held-out clips that are nearest to a facet. The row `{FAR}` has the share that is farther from "
    f"every facet than {QUANTILE:.0%} of the untuned clips are. A run that has hacked its reward makes mostly clips of "
    "one facet, or clips far from all. It is a finding if more clips than before do so than chance explains, prompt "
    f"by prompt (McNemar's exact test at the {LEVEL:.0%} level, corrected for the number of facets). Clips that are "
    "better than all before may be far, too: listen."
)


@dataclass(frozen=True)
class Sides:
    """What the untuned and the tuned model made of the same held-out prompts, as points in an encoder's space.

    Attributes:
        before: of the untuned model, a point for each clip, (clips, dim).
        after: of the tuned model, (clips, dim).
        credits: what each untuned clip is worth, (clips,), of which higher is better (`ranking.credits_of`).
        names: one for each pair of clips.
    """

    before: Tensor
    after: Tensor
    credits: Tensor
    names: Sequence[str]


def write_facets(benchmark: Benchmark, folders: Mapping[str, Path]) -> pd.DataFrame | None:
    """Write the table of all runs, CSV and Markdown, and return it; None where there are too few clips or embeddings.

    It has a row for each facet of a run, the largest first, and a row `far`. Columns: run; facet; untuned and tuned,
    the shares of clips; p_value, of so many clips coming to the facet by chance; finding, in words, or empty; and
    clip_1 to clip_3, the high-scoring clips nearest to the facet, or the tuned clips farthest from all, by prompt and
    seed. A run without embeddings of its clips, as of earlier versions under rewards of single clips, has no row.

    Args:
        benchmark: which is finished.
        folders: by run, the folder of its model; also of the untuned one.

    Raises:
        DragonError: the embeddings of a model cannot be read, or are not what its reward can judge.
    """
    there, count = [run for run in folders if (folders[run] / EMBEDDINGS).exists()], benchmark.preset.heldout_prompts
    if BASELINE not in there or count // SHARE < 2 * LEAST:
        return None
    prompts = benchmark.workload.compared_on(count)
    names = [named(prompt, seed) for prompt, seed in zip(prompts, benchmark.evaluation.seeds, strict=True)]
    untuned = read_embeddings(folders[BASELINE], prompts, CPU)
    rows: list[dict[str, Any]] = []
    for run in (run for run in there if run != BASELINE):
        sides = sides_of(compose(benchmark.served[run]), untuned, folders[run], names)
        rows += [{"run": run, **row} for row in facet_rows(sides)] if sides else []
    if not rows:
        return None
    table = pd.DataFrame(rows)
    write_table(benchmark.out / FACETS, table)
    return table


def named(prompt: str, seed: int) -> str:
    """Return the name of a clip: its prompt and its seed."""
    return f"{prompt} (seed {seed})"


def sides_of(reward: Reward, untuned: Encoded, folder: Path, names: Sequence[str]) -> Sides | None:
    """Return the clips of the untuned and of a tuned model in the space of the run's reward; None if one is not in it.

    Raises:
        DragonError: the embeddings cannot be read, or are not what the reward can judge.
    """
    tuned, name = read_embeddings(folder, untuned.prompts or (), CPU), reward.encoder.name
    if name not in untuned.known.frames or name not in tuned.known.frames:
        return None
    try:
        before, after = (clip_means(clips.known.frames[name], reward.encoder.dim) for clips in (untuned, tuned))
        return Sides(before.double(), after.double(), credits_of(reward, untuned), names)
    except DragonError as error:
        files = " or ".join(f"'{place / EMBEDDINGS}'" for place in (folder.parent / BASELINE, folder))
        raise DragonError(f"{files} has embeddings that '{reward.name}' refuses ({error}); {AGAIN}") from error


def facet_rows(sides: Sides) -> list[dict[str, Any]]:
    """Return the rows of one run: facets of the untuned clips that score high, and the clips that are far from all.

    No row is returned where those clips do not part into facets, as when all are alike.
    """
    high = sides.credits.argsort(descending=True, stable=True)[: len(sides.names) // SHARE].to(sides.before.device)
    facets = best_facets(sides.before[high])
    if facets is None:
        return []
    before, after = (distances(points, facets) for points in (sides.before, sides.after))
    limit = before.amin(1).quantile(QUANTILE)
    count = facets.centroids.shape[0]
    near = [(before.argmin(1) == place, after.argmin(1) == place) for place in range(count)]
    rows = [
        row_of(f"facet {place + 1}", *pair, sides.names, high[before[high, place].argsort(stable=True)], count)
        for place, pair in enumerate(near)
    ]
    beyond, farthest = (before.amin(1) > limit, after.amin(1) > limit), after.amin(1).argsort(descending=True)
    return [*rows, row_of(FAR, *beyond, sides.names, farthest, 1)]


def row_of(
    facet: str, before: Tensor, after: Tensor, names: Sequence[str], clips: Tensor, tests: int
) -> dict[str, Any]:
    """Return the row of a facet, or of the clips that are far from all.

    Args:
        facet: what the row is of.
        before: whether each untuned clip is of it, (clips,).
        after: whether each tuned clip is, (clips,).
        names: of the clips.
        clips: indices of the clips to show, the first ones first.
        tests: how many facets are tested at once (Bonferroni).
    """
    untuned, tuned = (float(side.double().mean()) for side in (before, after))
    p_value = min(1.0, tests * gained(int((after & ~before).sum()), int((before & ~after).sum())))
    shown = {f"clip_{place}": names[clip] for place, clip in enumerate(clips[:SHOWN].tolist(), 1)}
    found = said(facet, untuned, tuned) if p_value <= LEVEL else ""
    return {"facet": facet, "untuned": untuned, "tuned": tuned, "p_value": p_value, "finding": found, **shown}


def gained(came: int, went: int) -> float:
    """Return the one-sided p-value of McNemar's exact test: so many of the clips that changed came by chance.

    >>> gained(5, 0), gained(0, 0)
    (0.03125, 1.0)
    """
    return float(binomtest(came, came + went, 1 / 2, alternative="greater").pvalue) if came + went else 1.0


def said(facet: str, untuned: float, tuned: float) -> str:
    """Say what it means that so many more tuned clips than untuned ones are of a facet, or far; empty if nothing.

    >>> said("facet 1", 0.5, 0.9), said("facet 2", 0.1, 0.3)
    ('takes 90% of the tuned clips, 50% of the untuned ones', '')
    """
    if facet == FAR:
        return f"{tuned:.0%} of the tuned clips are like nothing that scored high before, {untuned:.0%} of the untuned"
    return f"takes {tuned:.0%} of the tuned clips, {untuned:.0%} of the untuned ones" if tuned > EVEN else ""


def best_facets(points: Tensor) -> Facets | None:
    """Return the facets of points (n, dim), as many as part best by the mean silhouette; None if they do not part."""
    found = []
    for count in range(2, min(MOST, len(points) // LEAST) + 1):
        with suppress(DragonError):  # fewer different points than facets
            found.append(Facets.fit(points, count))
    return max(found, key=lambda facets: silhouette(points, facets), default=None)


def silhouette(points: Tensor, facets: Facets) -> float:
    """Return the mean silhouette of points (n, dim) that are each of the nearest facet (Rousseeuw 1987).

    With a the mean distance of a point from the others of its facet, and b the least mean distance from another one's,

        s = (b - a) / max(a, b),

    which is 0 for a point that is alone in its facet.
    """
    labels, every = distances(points, facets).argmin(1), torch.arange(len(points))
    members = torch.nn.functional.one_hot(labels, len(facets.centroids)).double()
    sums, sizes = torch.cdist(points, points) @ members, members.sum(0)
    own = sums[every, labels] / (sizes[labels] - 1).clamp(min=1)
    other = (sums / sizes).masked_fill(members.bool() | (sizes == 0), torch.inf).amin(1)
    worth = (other - own) / torch.maximum(own, other).clamp(min=torch.finfo(torch.float64).tiny)
    return float(worth.where(sizes[labels] > 1, 0.0).mean())


def distances(points: Tensor, facets: Facets) -> Tensor:
    """Return the distance of each of the points (n, dim) from each centroid, (n, facets)."""
    return torch.cdist(points, facets.centroids, compute_mode="donot_use_mm_for_euclid_dist")


def section(table: pd.DataFrame) -> str:
    """Return what the page of a benchmark says of the table: what was found, in how many runs, and the rows of it."""
    found = table[table["finding"] != ""]
    parts = [f"## Facets\n\n{TEXT}", summary(table)]
    if not found.empty:
        shown = known(found[["run", "facet", "untuned", "tuned", "finding"]])
        parts.append(shown.to_markdown(index=False, floatfmt=".3g", missingval=""))
    return "\n\n".join(parts)


def summary(table: pd.DataFrame) -> str:
    """State in how many runs one facet takes most clips, and in how many more clips than before are far from all."""
    found, runs = table[table["finding"] != ""], table["run"].nunique()
    far = found.loc[found["facet"] == FAR, "run"].nunique()
    narrow = found.loc[found["facet"] != FAR, "run"].nunique()
    return (
        f"In {narrow} of {counted(runs, 'run')} one facet has come to take more than half of the clips; in {far} of "
        f"{runs} more clips than before are far from every facet."
    )
