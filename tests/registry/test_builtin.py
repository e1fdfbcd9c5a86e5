"""What the built-in descriptors declare is true of what they build."""

from __future__ import annotations

import pytest
import torch
from support.parts import noise

from dragon_rewards.builtin import ENCODERS, REDUCTIONS
from dragon_rewards.media.clips import Clips
from dragon_rewards.protocols import EncoderInfo, Modality, ReductionInfo
from dragon_rewards.registry import load_registry


@pytest.mark.parametrize("info", ENCODERS, ids=lambda info: info.name)
def test_encoders_have_the_declared_dimension_and_towers(info: EncoderInfo) -> None:
    encoder = load_registry().build_encoder(info.name)
    clips = Clips(noise(2), info.sample_rate, ["a slow air", "a jig"])
    texts = Modality.TEXT in info.modalities
    embeddings = clips.embeddings(info, encoder, with_prompts=texts)
    assert all(frames.shape[1] == info.dim and frames.dtype == torch.float32 for frames in embeddings.frames)
    assert (embeddings.prompts is not None) == texts
    assert load_registry().build_encoder(info.name) is encoder


@pytest.mark.parametrize("info", REDUCTIONS, ids=lambda info: info.name)
def test_reductions_build_once_and_only_those_of_sets_value_subsets(info: ReductionInfo) -> None:
    built = load_registry().build_reduction(info.name)
    assert built is load_registry().build_reduction(info.name)
    assert hasattr(built, "subsets") != info.kind.per_clip
