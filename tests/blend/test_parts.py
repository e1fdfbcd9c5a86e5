"""Parts of a denoiser: contiguous, of equal size, and every tuned weight is in exactly one."""

from __future__ import annotations

from itertools import pairwise
from typing import get_args

import pytest
import torch
from support.pipelines import BUILDERS
from support.tiny import tiny_policy
from torch import nn

from dragon_rewards.errors import ConfigError
from dragon_train.blend.parts import blocks_of, home, parts_of
from dragon_train.config import TrainConfig, Tuning
from dragon_train.loop.learner import AllWeights, Lora, make_tuning

BLOCKS = {  # of the tiny denoisers, those whose attention is adapted
    "stable-audio": ["transformer_blocks.0"],
    "stable-audio-3": ["transformer_blocks.0"],
    "ace-step": ["layers.0", "layers.1"],
    "longcat-audio": ["blocks.0", "blocks.1"],
    "audioldm2": ["down_blocks.1", *(f"mid_block.attentions.{number}" for number in range(3)), "up_blocks.0"],
    "audioldm": ["down_blocks.1", "mid_block.attentions.0", "up_blocks.0"],
    "musicldm": ["down_blocks.1", "mid_block.attentions.0", "up_blocks.0"],
    "masked-audio": ["body.transformer_blocks.0"],
}


def tuned(name: str, tuning: Tuning) -> AllWeights | Lora:
    return make_tuning(tiny_policy(name), TrainConfig("vendi:logmel", tuning=tuning, lora_rank=2))


def sizes(count: int, blocks: list[str], parts: dict[str, int]) -> list[int]:
    """The number of blocks in each part."""
    return [len({home(name, blocks) for name, part in parts.items() if part == own} - {""}) for own in range(count)]


@pytest.mark.parametrize("name", BUILDERS)
def test_blocks_of_adapters_are_in_the_order_in_which_they_compute(name: str) -> None:
    learnt = tuned(name, "lora")
    found = {home(weight, blocks_of(learnt.policy.denoiser)) for weight in learnt.weights()}
    assert [block for block in blocks_of(learnt.policy.denoiser) if block in found] == BLOCKS[name]


@pytest.mark.parametrize("tuning", get_args(Tuning))
@pytest.mark.parametrize("name", BUILDERS)
def test_parts_cover_every_tuned_weight_once(name: str, tuning: Tuning) -> None:
    learnt = tuned(name, tuning)
    denoiser, weights = learnt.policy.denoiser, learnt.weights()
    most = len({home(weight, blocks_of(denoiser)) for weight in weights} - {""})
    for count in range(1, most + 1):
        parts = parts_of(denoiser, weights, count)
        assert list(parts) == list(weights)
        assert set(parts.values()) == set(range(count))
        counted = sizes(count, blocks_of(denoiser), parts)
        assert sum(counted) == most
        assert max(counted) - min(counted) <= 1
        order = [part for block in blocks_of(denoiser) for weight, part in parts.items() if home(weight, [block])]
        assert all(before <= after for before, after in pairwise(order))
    with pytest.raises(ConfigError, match=f"--parts {most + 1}: the run tunes {most} blocks; give --parts {most}, or"):
        parts_of(denoiser, weights, most + 1)


def test_layers_outside_of_blocks_are_with_their_neighbours() -> None:
    network = nn.ModuleDict({"first": nn.Linear(2, 2)})
    network["blocks"] = nn.ModuleList(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)) for _ in range(11))
    network["last"] = nn.Linear(2, 2)
    parts = parts_of(network, network.state_dict(), 2)
    assert (parts["first.weight"], parts["last.bias"]) == (0, 1)
    assert [parts[f"blocks.{number}.1.weight"] for number in range(11)] == [0] * 6 + [1] * 5


def test_without_blocks_there_is_one_part() -> None:
    network = nn.Linear(2, 2)
    assert parts_of(network, network.state_dict(), 1) == {"weight": 0, "bias": 0}
    with pytest.raises(ConfigError, match="tunes 0 blocks; give --parts 1"):
        parts_of(network, network.state_dict(), 2)


def test_counters_belong_to_a_part_as_well() -> None:
    network = nn.ModuleDict({"blocks": nn.ModuleList([nn.BatchNorm1d(2), nn.BatchNorm1d(2)])})
    weights = network.state_dict()
    assert weights["blocks.1.num_batches_tracked"].dtype == torch.int64
    assert parts_of(network, weights, 2)["blocks.1.num_batches_tracked"] == 1
