"""What a step of training asks of a device: as many launches and waits whatever the number of clips.

Beside a reward's own, a step of two sampling steps and one gradient step waits for the device for its checkpoint (a
copy of every tuned tensor and of both of its moments), for what the sampler reads of its noise levels, for each batch's
check of clips and frames, and once for a gradient step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.devices.second_device import Counts, counted
from support.tiny import CONFIG, PROMPTS, tiny_run

from dragon_train.loop.loop import Training

if TYPE_CHECKING:
    from pathlib import Path

    import torch

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")

LAUNCHES, WAITS, UPLOADS = 2200, 90, 65  # of a step on the tiny Stable Audio pipeline
REWARDS = ("per-song-fad:clap@airs", "dataset-fad:vae@airs", "clap-score:clap")


def counts_of_second_step(reward: str, clips: int, out: Path, device: torch.device) -> Counts:
    """Of the second step, as the first one builds encoders and references."""
    found: list[Counts] = []

    class Counted(Training):
        def step(self, step: int) -> dict[str, float]:
            with counted() as counts:
                row = super().step(step)
            found.append(counts)
            return row

    config = replace(CONFIG, reward=reward, prompts_per_step=clips, sampling_batch=32, minibatch=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dragon_train.loop.loop.Training", Counted)
        patch.setattr("support.tiny.PROMPTS", PROMPTS * 8)
        tiny_run(config, out, device=device)
    return found[1]


@pytest.mark.parametrize("reward", REWARDS)
def test_a_step_asks_the_same_whatever_the_number_of_clips(tmp_path: Path, second: torch.device, reward: str) -> None:
    """From 13 on: of 12 or fewer a reward of sets values further choices, and makes passes."""
    few, many = (counts_of_second_step(reward, clips, tmp_path / str(clips), second) for clips in (13, 26))
    assert (many.launches, many.synchronisations, many.uploads) == (
        few.launches,
        few.synchronisations,
        few.uploads,
    ), difference(few, many)
    assert many.launches <= LAUNCHES, str(many)
    assert many.synchronisations <= WAITS, str(many)
    assert many.uploads <= UPLOADS, str(many)


def difference(few: Counts, many: Counts) -> dict[str, Any]:
    """What was asked more often of many clips."""
    return {kind: many.by_name[kind] - few.by_name.get(kind, many.by_name[kind]) for kind in many.by_name}
