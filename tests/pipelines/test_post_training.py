"""A checkpoint that was distilled to few steps is trained as it is asked for, with a warning."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.pipelines import ace_step_pipeline, stable_audio_3_pipeline

from dragon_train.pipelines.ace_step import AceStepPolicy
from dragon_train.pipelines.stable_audio_3 import StableAudio3Policy
from dragon_train.registry import load_train_registry
from dragon_train.session import warn_of_post_training

if TYPE_CHECKING:
    from dragon_train.protocols import Policy


def made(name: str, *, distilled: bool) -> Policy:
    """The policy over a tiny checkpoint."""
    torch.manual_seed(0)
    if name == "ace-step":
        turbo: Any = ace_step_pipeline(turbo=distilled)
        return AceStepPolicy(turbo)
    pipeline: Any = stable_audio_3_pipeline(distilled=distilled)
    return StableAudio3Policy(pipeline)


@pytest.mark.parametrize("name", ["stable-audio-3", "ace-step"])
def test_a_post_trained_checkpoint_is_warned_of_and_its_base_is_not(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    info = load_train_registry().pipeline(name)
    base, distilled = made(name, distilled=False), made(name, distilled=True)
    warn_of_post_training(info, base)
    assert not capsys.readouterr().err
    warn_of_post_training(info, distilled)
    said = capsys.readouterr().err
    assert f"pipeline '{name}' is post-trained" in said
    assert f"'{info.base}'" in said
    assert (distilled.steps, distilled.guidance) == (8, 1.0)
    assert (base.steps, base.guidance) == (25, 7.0)


def test_policies_that_know_nothing_of_it_are_not_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    policy: Any = SimpleNamespace()
    warn_of_post_training(load_train_registry().pipeline("embedded"), policy)
    assert not capsys.readouterr().err
