"""The built-in parts are built once; the conformance kit checks what their descriptors declare."""

from __future__ import annotations

import pytest

from dragon_rewards.builtin import ENCODERS, REDUCTIONS
from dragon_rewards.protocols import EncoderInfo, ReductionInfo
from dragon_rewards.registry import load_registry


@pytest.mark.parametrize("info", ENCODERS, ids=lambda info: info.name)
def test_encoders_build_once(info: EncoderInfo) -> None:
    assert load_registry().build_encoder(info.name) is load_registry().build_encoder(info.name)


@pytest.mark.parametrize("info", REDUCTIONS, ids=lambda info: info.name)
def test_reductions_build_once_and_only_those_of_sets_value_subsets(info: ReductionInfo) -> None:
    built = load_registry().build_reduction(info.name)
    assert built is load_registry().build_reduction(info.name)
    assert hasattr(built, "subsets") != info.kind.per_clip
