"""Studies of ablations give on the second device what they give on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from dragon_train.bench.ablation.study_grid import ROWS, run_study

if TYPE_CHECKING:
    from pathlib import Path

SMALL: dict[str, dict[str, Any]] = {
    "batch-bias": {"clips": 12, "sizes": (8, 10), "draws": 2, "diffusion_steps": 2},
    "selection": {"prompts": 8, "prompts_per_step": 4, "diffusion_steps": 2},
    "frames": {"clips": 6, "counts": (2, 4), "diffusion_steps": 2},
    "aesthetics-head": {"prompts": 8, "versions": 3, "chunks": (1, 2), "diffusion_steps": 2},
}


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize("study", SMALL)
def test_a_study_gives_the_same_on_a_device(study: str, tmp_path: Path) -> None:
    frames = []
    for device in ("second:0", "cpu"):
        run_study(tmp_path / device, study, SMALL[study], device)
        frames.append(pd.read_parquet(tmp_path / device / ROWS))
    found, expected = frames
    pd.testing.assert_frame_equal(found, expected, rtol=1e-2, atol=1e-3)
