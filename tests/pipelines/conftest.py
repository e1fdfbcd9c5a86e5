from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from dragon_train.pipelines.recorded import RecordedPolicy
from dragon_train.registry import load_train_registry
from tests.pipelines.builders import build

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """LongCat's autoencoder is built with torch's older weight norm."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning"))


@pytest.fixture(scope="session", autouse=True)
def quiet() -> None:
    logging.getLogger("diffusers").setLevel(logging.ERROR)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `folder_of` keeps pipelines, each saved once."""
    return tmp_path_factory.mktemp("pipelines")


def folder_of(name: str, saved: Path) -> Path:
    """A tiny pipeline of the adapter's class, as `save_pretrained` writes it."""
    folder = saved / name
    if not folder.exists():
        build(name).save_pretrained(folder)
    return folder


def load(name: str, saved: Path) -> RecordedPolicy:
    """A policy over a freshly loaded pipeline, by the path that `dragon train --pipeline FOLDER` takes."""
    policy = load_train_registry().pipeline(str(folder_of(name, saved))).factory()
    assert isinstance(policy, RecordedPolicy)
    return policy
