from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from support.pipelines import allow_old_weight_norm, folder_of, load, saved
from support.tiny import CONFIG, tiny_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_train.config import Tuning

    Tune = Callable[[str, Tuning], Path]

__all__ = ["pytest_collection_modifyitems", "quiet", "saved", "tune"]

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    allow_old_weight_norm(items, Path(__file__).parent)


@pytest.fixture(scope="session", autouse=True)
def quiet() -> None:
    logging.getLogger("diffusers").setLevel(logging.ERROR)


@pytest.fixture(scope="session")
def tune(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Tune:
    """Tunes a tiny pipeline of an adapter's class, once for each way of tuning; returns the folder of the run."""
    runs: dict[tuple[str, str], Path] = {}

    def tuned(name: str, tuning: Tuning = "lora") -> Path:
        if (name, tuning) not in runs:
            runs[name, tuning] = tmp_path_factory.mktemp("runs") / f"{name}-{tuning}"
            config = replace(CONFIG, pipeline=str(folder_of(name, saved)), tuning=tuning, steps=1)
            watched = replace(config, heldout=("per-song-fad:logmel@airs",), heldout_prompts=4)
            tiny_run(watched, runs[name, tuning], load(name, saved))
        return runs[name, tuning]

    return tuned
