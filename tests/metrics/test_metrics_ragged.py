"""Clips of different lengths, batch by batch, are what they are one by one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.metric_cases import seeds, songs, thorough

from dragon_rewards.metrics.frames import clip_means, clip_sums, over_clips, stacks

some_lengths = st.lists(st.integers(1, 4), min_size=1, max_size=9)


@thorough
@given(seeds, some_lengths, st.integers(1, 60))
def test_batches_hold_every_clip_once_and_within_their_room(seed: int, lengths: list[int], room: int) -> None:
    clips = songs(seed, lengths, 3)
    found: dict[int, torch.Tensor] = {}
    for batch, stack in stacks(torch.cat(clips), lengths, made=7, room=room):
        assert len(batch) == 1 or len(batch) * max(7, stack.shape[1] * 3) <= room
        found |= dict(zip(batch, stack, strict=True))
    assert len(found) == len(clips)
    assert all(torch.equal(found[index], clip) for index, clip in enumerate(clips))


@thorough
@given(seeds, some_lengths, st.integers(1, 60))
def test_what_is_made_of_clips_is_in_their_order(seed: int, lengths: list[int], room: int) -> None:
    clips = songs(seed, lengths, 3)
    made = over_clips(lambda stack: stack[:, 0] * stack.shape[1], torch.cat(clips), lengths, room=room)
    assert torch.equal(made, torch.stack([clip[0] * len(clip) for clip in clips]))
    assert torch.allclose(clip_sums(torch.cat(clips), lengths), torch.stack([clip.sum(0) for clip in clips]))
    assert torch.allclose(clip_means(clips, 3), torch.stack([clip.mean(0) for clip in clips]))


@pytest.mark.parametrize("lengths", [[3, 3], [3, 1, 3]])
def test_gradients_reach_every_clip(lengths: list[int]) -> None:
    frames = torch.cat(songs(0, lengths, 2)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: over_clips(lambda stack: stack.square().sum(1), x, lengths), frames)
