from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from support.pipelines import allow_old_weight_norm, saved

if TYPE_CHECKING:
    import pytest

__all__ = ["pytest_collection_modifyitems", "saved"]

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    allow_old_weight_norm(items, Path(__file__).parent)
