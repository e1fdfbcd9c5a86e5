"""A cache in a folder of the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon_rewards.media.cache import EmbeddingCache


@pytest.fixture
def cache(tmp_path: Path) -> EmbeddingCache:
    """Takes a MiB."""
    return EmbeddingCache(tmp_path / "cache", 2**20)
