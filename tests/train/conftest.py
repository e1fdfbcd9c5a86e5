from __future__ import annotations

import pytest
import torch

from dragon_train.embedded.pipeline import load_policy
from dragon_train.pipelines.stable_audio import StableAudioPolicy

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def frozen_policy() -> StableAudioPolicy:
    """For tests that tune nothing."""
    return load_policy()


@pytest.fixture
def policy() -> StableAudioPolicy:
    """For tests that tune."""
    return load_policy()
