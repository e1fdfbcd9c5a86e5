"""Curves over shares: the best of the candidates is kept, and what is on disk is not measured again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from dragon_rewards.compute.devices import CPU
from dragon_rewards.errors import DragonError
from dragon_train.blend.columns import REWARD
from dragon_train.blend.curves import PER_PART, UNIFORM, per_part, uniform
from dragon_train.blend.record import BlendRecord, Results
from dragon_train.blend.shares import Shares
from dragon_train.blend.weights import blended

SHARES = (0.0, 0.4, 1.0)


def toy(vertex: Shares) -> Callable[[Shares], dict[str, float]]:
    """The reward of a denoiser of one weight a part, which is least wrong at the blend `vertex`: a quadratic of it."""
    untuned, tuned = torch.zeros(len(vertex)), torch.ones(len(vertex))
    best = torch.tensor(vertex)

    def measure(shares: Shares) -> dict[str, float]:
        ends = zip(untuned, tuned, shares, strict=True)
        return {REWARD: -float((torch.stack([blended(*each) for each in ends]) - best).square().sum())}

    return measure


def test_the_search_finds_the_vertex_of_a_toy() -> None:
    vertex = (0.8, 0.0, 0.4)
    (found,) = per_part(SHARES, 3, toy(vertex))
    assert (found.kind, found.share, found.shares) == (PER_PART, 0.4, vertex)
    assert found.figures[REWARD] == pytest.approx(0)


def test_all_parts_of_the_uniform_curve_have_one_share() -> None:
    found = uniform(SHARES, 2, toy((0.5, 0.5)))
    assert [(blend.kind, blend.shares) for blend in found] == [(UNIFORM, (share, share)) for share in SHARES]
    assert per_part((0.0, 1.0), 2, toy((0.5, 0.5))) == per_part(SHARES, 1, toy((0.5,))) == []


def test_what_is_on_disk_is_not_measured_again(tmp_path: Path) -> None:
    record = BlendRecord("runs/a", {"pipeline": "embedded"}, "result-0", 2, SHARES, "0", {})
    asked: list[Shares] = []

    def measure(shares: Shares) -> Mapping[str, float]:
        asked.append(shares)
        if len(asked) > 1:
            raise DragonError("interrupted")
        return {REWARD: 1.0}

    results = Results(tmp_path / "blend.json", record, CPU)
    assert results.get((0.0, 0.4), measure) == results.get((0.0, 0.4), measure) == {REWARD: 1.0}
    with pytest.raises(DragonError):
        results.get((1.0, 1.0), measure)
    assert asked == [(0.0, 0.4), (1.0, 1.0)]
    held = json.loads((tmp_path / "blend.json").read_text())
    assert held["blends"] == [{"shares": [0.0, 0.4], "figures": {REWARD: 1.0}}]
    assert {"python", "packages", "plugins", "device"} <= set(held["provenance"])
