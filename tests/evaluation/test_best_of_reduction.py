"""The reward best-of-4-clap-score against all draws, its kin, and the promises of reductions."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.parts import RATE, noise

from dragon_rewards.media.clips import Clips
from dragon_rewards.metrics import clap_score
from dragon_rewards.protocols import Embeddings
from dragon_rewards.reductions.standard import BestOfClapScore
from dragon_rewards.registry import load_registry
from dragon_rewards.rewards import compose
from dragon_rewards.testing import checks

DIM = 4
GROUPS = st.lists(st.integers(0, 3), min_size=1, max_size=6)


def embeddings(groups: list[int], seed: int = 0) -> Embeddings:
    """A clip for each entry, of the prompt with that number."""
    generator = torch.Generator().manual_seed(seed)
    prompts = torch.randn(4, DIM, generator=generator)
    return Embeddings([torch.randn(3, DIM, generator=generator) for _ in groups], prompts[groups])


def brute_force(groups: list[int], scores: list[float], n: int) -> float:
    """Mean over prompts of the mean best of all draws of n with replacement."""
    bests = []
    for group in set(groups):
        own = [score for score, other in zip(scores, groups, strict=True) if other == group]
        bests.append(np.mean([max(drawn) for drawn in product(own, repeat=n)]))
    return float(np.mean(bests))


@given(GROUPS, st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_it_is_the_expected_best_of_all_draws(groups: list[int], n: int, seed: int) -> None:
    clips = embeddings(groups, seed)
    assert clips.prompts is not None
    scores = clap_score(clips.frames, clips.prompts).tolist()
    assert float(BestOfClapScore(n)(clips, None)) == pytest.approx(brute_force(groups, scores, n), abs=1e-6)


@given(GROUPS, st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_more_draws_are_never_worse(groups: list[int], seed: int) -> None:
    values = [float(BestOfClapScore(n)(embeddings(groups, seed), None)) for n in (1, 2, 4, 8)]
    assert values == sorted(values)


def test_one_clip_a_prompt_has_its_clap_score() -> None:
    clips = embeddings([0, 1, 2, 3])
    assert clips.prompts is not None
    expected = clap_score(clips.frames, clips.prompts).mean()
    torch.testing.assert_close(BestOfClapScore(4)(clips, None), expected)


def test_gradients_reach_every_clip() -> None:
    clips = embeddings([0, 0, 0, 1])
    for frames in clips.frames:
        frames.requires_grad_()
    BestOfClapScore(4)(clips, None).backward()
    assert all(frames.grad is not None and frames.grad.any() for frames in clips.frames)


def test_it_keeps_the_promises_of_reductions() -> None:
    promises = [check for check in checks("dragon-rewards") if check.part == "reduction best-of-4-clap-score"]
    assert len(promises) > 9
    for check in promises:
        check.run()


def test_as_a_reward_of_real_clips() -> None:
    clips = Clips(noise(6), RATE, ["a slow hymn on organ"] * 4 + ["a fast jig", "a fast jig"])
    reward, mean = (compose(f"{name}:clap", load_registry()) for name in ("best-of-4-clap-score", "clap-score"))
    scores = mean.metric(clips)
    found = float(reward.value(clips))
    assert float((scores[:4].mean() + scores[4:].mean()) / 2) < found < float((scores[:4].max() + scores[4:].max()) / 2)
    rows = torch.tensor([[0, 1, 2, 3], [0, 4, 5, 1]])
    expected = [float(reward.value(clips.select(row))) for row in rows]
    assert reward.subsets(clips)(rows).tolist() == pytest.approx(expected, abs=1e-6)
