"""Compare two folders of clips under many rewards: who wins, how often and how surely. An encoder hears a clip once."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import mannwhitneyu

from dragon_rewards.encoding import EncodingJob, Files, cut_of, encode_files
from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation import holm, matched_subsets, permutation_test, win_rate
from dragon_rewards.evaluation.score_tables import (
    BASELINE,
    CONFOUNDERS,
    comparisons,
    confounder_table,
    controlled_table,
    measured_frame,
    scores_frame,
)
from dragon_rewards.media.kinds import medium_of
from dragon_rewards.media.loudness import Measured, confounders, measured
from dragon_rewards.media.media import Media
from dragon_rewards.media.prompts import prompts_of
from dragon_rewards.media.usable import damage_first
from dragon_rewards.rewards import compose, warn_of_cut_prompts
from dragon_rewards.scoring import build_parts
from dragon_rewards.suites import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from pathlib import Path

    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.media.folder_pairs import Side, Sides
    from dragon_rewards.registry import Registry
    from dragon_rewards.rewards import Reward
    from dragon_rewards.suites import Suite

TRIALS = 16  # disjoint subsets, as the benchmark has; fewer than 5 can never show a rate above 1/2
ROUNDS = 25  # random partitions into subsets, as the benchmark's
FIGURES = ("low", "high", "effect", "controlled", "controlled_low", "controlled_high", "permutation_p")
SEED = 0  # of the partitions, and of the draw from the larger folder


def check(reward: Reward, sides: Sides, device: torch.device) -> None:
    """Refuse a reward that cannot judge these clips, before any is read.

    Raises:
        TooFewClipsError: a side has fewer clips than it needs.
        MissingPromptsError: it compares clips with their prompts, and one has none.
        WeightsError: its encoder's weights are not on this machine.
        DragonError: a part of it cannot be built.
    """
    reward.require_weights()
    reward.check_count(sides.equal)
    if reward.reduction.needs_prompts:
        for side in (sides.a, sides.b):
            prompts_of(side.files, sides.table, [side.folder])
    build_parts(reward, device)


def servable(suite: Suite, registry: Registry, sides: Sides, device: torch.device) -> tuple[list[Reward], list[str]]:
    """Return the rewards of a suite that can judge these clips, each once, and notes on stand-ins and what is left out.

    Args:
        suite: the suite of rewards.
        registry: where its parts are.
        sides: the clips to judge.
        device: where they will be judged.
    """
    rewards: dict[str, Reward] = {}
    notes = []
    for slot in suite.slots:
        try:
            (serving,) = serve(replace(suite, slots=(slot,)), registry)
            reward = compose(serving.served, registry)
            check(reward, sides, device)
        except DragonError as refusal:
            notes.append(f"{slot.reward} is left out: {str(refusal).splitlines()[0]}")
        else:
            rewards[reward.name] = reward
            notes += [serving.note] if serving.note else []
    return list(rewards.values()), notes


def compare(
    sides: Sides,
    rewards: Sequence[Reward],
    on_progress: Callable[[int, int], None],
    cache: EmbeddingCache | None,
    device: torch.device,
) -> list[dict[str, Any]]:
    """Compare two folders under each of some rewards: one row per reward; a win is B's.

    Paired clips compare pair by pair, a tie counting half. Unpaired clips compare all with all: `win_rate` is the
    probability that a clip of B is better than one of A (Mann and Whitney 1947), and `lower` counts as many independent
    trials as there are disjoint pairs. Rewards of sets compare on matched random subsets, a sixteenth of the clips
    each, as the benchmark does (`evaluation.distribution_wins`). They judge equally many clips of both: where there are
    more, a seeded draw, because their values are biased by the number of clips (`metrics.fad_infinity` is not).

    Args:
        sides: the clips.
        rewards: what to compare by, each once.
        on_progress: is told how many further steps of how many are done.
        cache: where embeddings are stored for the next time.
        device: where clips are encoded and judged.

    Returns:
        Rows with `reward`, `compared` (what, and how paired), `better`, `a` and `b` (raw metrics: means over clips, or
        of the set), `win_rate`, `lower` (one-sided 95% Clopper-Pearson bound), `p_value` (one-sided; binomial, or
        Mann-Whitney for unpaired clips), `holm` (`permutation_p` if there is one, else `p_value`, adjusted for as many
        rewards), `trials` (of clips, prompts). None where clips are not paired, or where it is for the other kind: of
        clips `low` and `high` (95% interval over prompts), `controlled` (win rate without what goes with duration,
        loudness and silence, with its `_low` and `_high`); of sets `permutation_p` (`evaluation.permutation_test`); of
        both `effect` (`rank_biserial`). Then, alike in every row, the mean `duration`, `loudness` and `silence` of both
        sides, `_a` and `_b`, at the highest sample rate that an encoder hears; of images there are none.

    Raises:
        DragonError: `check` refuses one of the rewards, or a reward refuses the clips.
    """
    medium = medium_of([reward.encoder for reward in rewards])
    smaller = (file for side in (sides.a, sides.b) if len(side.files) == sides.equal for file in side.files)
    with damage_first(smaller, medium):
        for reward in rewards:
            check(reward, sides, device)
    warn_of_cut_prompts(rewards, [*(sides.a.prompts or ()), *(sides.b.prompts or ())], device)
    ways = {(reward.encoder.sample_rate, cut_of(reward)) for reward in rewards}
    steps = (len(sides.a.files) + len(sides.b.files)) * (len(ways) + len(rewards))
    rows: dict[str, dict[str, Any]] = {}
    measured = _Measured(sides)
    for rate, cut in sorted(ways, key=lambda way: (-way[0], -way[1].longest)):
        own = [reward for reward in rewards if (reward.encoder.sample_rate, cut_of(reward)) == (rate, cut)]
        read = any(reward.reduction.needs_prompts for reward in own)  # else the clips of one folder may have none
        a, b = (
            encode_files(
                EncodingJob(own, device, cache, lambda done: on_progress(done, steps), measured.of(side, rate)),
                Files(side.files, side.prompts if read else None),
            )
            for side in (sides.a, sides.b)
        )
        measured.close()
        with torch.no_grad():
            rows |= {reward.name: _row(reward, a, b, sides, measured.frame) for reward in own}
    return _with_holm([rows[reward.name] for reward in rewards])


class _Measured:
    """The confounders of both folders' clips, measured when the clips are heard first: at the highest rate."""

    def __init__(self, sides: Sides) -> None:
        self.sides, self.closed = sides, False
        self.found: dict[Path, list[list[Measured]]]
        self.found = {side.folder: [[] for _ in side.files] for side in (sides.a, sides.b)}

    def of(self, side: Side, rate: int) -> Callable[[Sequence[int], Sequence[torch.Tensor]], None]:
        """Return a function that measures clips of a side, or windows of them, where they are not measured yet."""
        found = self.found[side.folder]

        def measure(rows: Sequence[int], audio: Sequence[torch.Tensor]) -> None:
            for row, clip in zip(rows, audio, strict=True):
                if not self.closed:
                    found[row].append(measured(clip, rate))

        return measure

    def close(self) -> None:
        """Note that all clips are measured, so that no further call measures any."""
        self.closed = True

    @property
    def frame(self) -> pd.DataFrame | None:
        """The table of the confounders, with a row for each clip; None where nothing was measured, as of images."""
        if not all(chain.from_iterable(self.found.values())):
            return None
        prompts = _prompts(self.sides)
        frames = [
            measured_frame(run, list(map(confounders, self.found[side.folder])), range(len(side.files)), prompts)
            for run, side in ((BASELINE, self.sides.a), ("b", self.sides.b))
        ]
        return pd.concat(frames)


def _prompts(sides: Sides) -> Sequence[str] | None:
    """Return the prompt of each pair, where clips pair and have one."""
    return sides.a.prompts if sides.paired_by else None


def _with_holm(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the adjusted p values to the rows, beside the p values.

    Where a test takes whole sets, its p is adjusted, as it sees more.
    """
    tests = [row["p_value"] if row["permutation_p"] is None else row["permutation_p"] for row in rows]
    adjusted = holm(tests).tolist()
    return [
        {key: value for name in row for key, value in [(name, row[name]), *[("holm", p)] * (name == "p_value")]}
        for row, p in zip(rows, adjusted, strict=True)
    ]


def _row(reward: Reward, a: Media, b: Media, sides: Sides, confounders: pd.DataFrame | None) -> dict[str, Any]:
    size = max(sides.equal // TRIALS, reward.reduction.minimum_clips)
    unpaired = reward.kind.per_clip and sides.paired_by is None
    found = _all_with_all(reward, a, b) if unpaired else _matched(reward, a, b, size, sides, confounders)
    what = "clips" if reward.kind.per_clip else f"sets of {size}"
    return {
        "reward": reward.name,
        "compared": f"{what}, {sides.pairing}",
        "better": str(reward.direction),
        "a": float(found["before"]),
        "b": float(found["after"]),
        **{figure: float(found[figure]) for figure in ("win_rate", "lower", "p_value")},
        "trials": int(found["trials"]),
        **{figure: _known(found.get(figure)) for figure in FIGURES},
        **_means(confounders),
    }


def _means(confounders: pd.DataFrame | None) -> dict[str, float]:
    if confounders is None:
        return {}
    before, after = confounder_table(confounders)[CONFOUNDERS].to_dict("records")
    return {f"{name}_{side}": means[name] for name in CONFOUNDERS for side, means in (("a", before), ("b", after))}


def _known(figure: float | None) -> float | None:
    return None if pd.isna(figure) else figure


def _matched(
    reward: Reward, a: Media, b: Media, size: int, sides: Sides, confounders: pd.DataFrame | None
) -> dict[Hashable, Any]:
    """Compare B with A as the benchmark compares a tuned model with the untuned one."""
    clips = min(len(a), len(b))
    subsets, prompts = matched_subsets(clips, size, ROUNDS, SEED), _prompts(sides)
    frame = pd.concat(
        scores_frame(run, "files", _drawn(side, clips), [reward], subsets=subsets, seeds=range(clips), prompts=prompts)
        for run, side in ((BASELINE, a), ("b", b))
    )
    found = comparisons(frame, [reward], clips // size).to_dict("records")[0]
    if reward.kind.per_clip and confounders is not None:
        return found | controlled_table(frame, confounders, [reward]).to_dict("records")[0]
    if reward.kind.per_clip:
        return found
    if sides.paired_by is None:
        return found | {"effect": None}
    exchanged = permutation_test(reward.subsets(Media.concatenate([a, b])), clips, prompts)
    return found | {"permutation_p": exchanged.p_value}


def _drawn(side: Media, clips: int) -> Media:
    if len(side) == clips:
        return side
    return side.select(np.random.default_rng(SEED).permutation(len(side))[:clips].tolist())


def _all_with_all(reward: Reward, a: Media, b: Media) -> dict[str, Any]:
    before, after = (reward.metric(side).double().cpu().numpy() for side in (a, b))
    sign, trials = reward.direction.sign, min(len(a), len(b))
    test = mannwhitneyu(sign * after, sign * before, alternative="greater")
    rate = float(test.statistic) / (len(a) * len(b))
    wins = win_rate(rate * trials, trials)
    found = {"before": before.mean(), "after": after.mean(), "win_rate": rate, "lower": wins.lower}
    return {**found, "p_value": test.pvalue, "trials": trials}
