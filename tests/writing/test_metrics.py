"""metrics.csv is what the checkpoint holds, whenever a kill came."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from support.tiny import CONFIG, tiny_run

from dragon_train.loop.run import load_checkpoint
from dragon_train.loop.run_folder import CHECKPOINT, METRICS, is_finished

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")


class Killed(BaseException):
    """Stands for a kill between two steps."""


def steps(folder: Path) -> list[int]:
    return [int(step) for step in pd.read_csv(folder / METRICS)["step"]]


@pytest.mark.parametrize("last", [1, CONFIG.steps])
def test_a_kill_between_checkpoint_and_metrics_loses_no_row(last: int, tmp_path: Path) -> None:
    def kill(row: dict[str, float]) -> None:
        if row["step"] == last:
            raise Killed

    with pytest.raises(Killed):
        tiny_run(CONFIG, tmp_path, on_step=kill)
    assert len(load_checkpoint(tmp_path / CHECKPOINT).rows) == last
    whole = (tmp_path / METRICS).read_text().splitlines(keepends=True)
    if last == 1:
        (tmp_path / METRICS).unlink()
    else:
        (tmp_path / METRICS).write_text("".join(whole[:-1]))
    tiny_run(CONFIG, tmp_path)
    assert steps(tmp_path) == list(range(1, CONFIG.steps + 1))
    assert (tmp_path / METRICS).read_text().splitlines(keepends=True)[: last + 1] == whole
    assert is_finished(tmp_path)
