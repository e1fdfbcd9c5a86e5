from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from support.pipelines import allow_old_weight_norm, saved

__all__ = ["pytest_collection_modifyitems", "quiet", "saved"]

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    allow_old_weight_norm(items, Path(__file__).parent)


@pytest.fixture(scope="session", autouse=True)
def quiet() -> None:
    logging.getLogger("diffusers").setLevel(logging.ERROR)
