"""Judges that nothing is tuned toward: what they say is kept apart, of every run under music that is not its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from dragon_rewards import Clips, Reward
from dragon_rewards.errors import AudioError
from dragon_rewards.evaluation.score_tables import BASELINE, scores_frame
from dragon_train import judges as judging
from dragon_train.bench import judges
from dragon_train.bench.result_files import JUDGEMENTS
from dragon_train.config import TrainConfig

AIRS, TUNEBOOK = NAMES = ("per-song-fad:logmel@airs", "per-song-fad:logmel@tunebook")
SERVED = {"a": "per-song-fad:clap@airs", "t": "per-song-fad:clap@tunebook", "v": "vendi:clap"}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Built-in rewards in the place of those that the plugin makes possible."""
    monkeypatch.setattr(judging, "JUDGES", NAMES)


def scores(rewards: Sequence[Reward]) -> pd.DataFrame:
    audio = 0.1 * torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0))
    subsets = torch.arange(3)[None].numpy()
    return scores_frame("a", "embedded", Clips(audio, 16_000), rewards, subsets=subsets, seeds=[0, 1, 2])


def test_there_is_none_without_the_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "JUDGES", ("per-song-fad:no-such-encoder@airs", "per-song-fad:logmel@descriptions"))
    judges.judge(tmp_path, scores)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("installed")
def test_judgements_are_kept_with_their_time(tmp_path: Path) -> None:
    judges.judge(tmp_path, scores)
    frame = judges.read_judgements([tmp_path])
    assert frame is not None
    assert frame.groupby("reward").size().to_dict() == {AIRS: 3, TUNEBOOK: 3}
    assert (frame[judges.SECONDS] > 0).all()
    assert judges.read_judgements([tmp_path, tmp_path / "elsewhere"]) is None


@pytest.mark.usefixtures("installed")
def test_clips_that_are_too_short_are_not_judged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_: Sequence[Reward]) -> pd.DataFrame:
        raise AudioError("'p0000' is shorter than one frame")

    with caplog.at_level(logging.WARNING):
        judges.judge(tmp_path, refuse)
    assert not (tmp_path / JUDGEMENTS).exists()
    assert caplog.messages == ["no judgement by musicnn: 'p0000' is shorter than one frame"]


def judgements() -> pd.DataFrame:
    """Four prompts: under `airs` all three runs win each, under `tunebook` they lose each but one."""
    values = {BASELINE: {AIRS: [2, 2, 2, 2], TUNEBOOK: [2, 2, 2, 2]}}
    values |= {run: {AIRS: [1, 1, 1, 1], TUNEBOOK: [1, 3, 3, 3]} for run in SERVED}
    return pd.DataFrame(
        [
            {"run": run, "model": "embedded", "prompt_id": f"p{row}", "seed": row, "reward": reward, "value": value}
            for run, rewards in values.items()
            for reward, found in rewards.items()
            for row, value in enumerate(found)
        ]
    ).assign(**{judges.SECONDS: 2.0})


@pytest.mark.usefixtures("installed")
def test_a_run_is_judged_under_music_that_is_not_its_own() -> None:
    assert judges.judged(judgements(), SERVED, 2).to_dict() == {"a": 0.25, "t": 1.0, "v": 0.625}


@pytest.mark.usefixtures("installed")
def test_their_time_is_told_apart() -> None:
    frame = judgements()
    text = judges.describe(frame, judges.judged(frame, SERVED, 2))
    assert "2 of 3 runs are above 50%" in text
    assert "8 s of all processes together, for 4 models" in text


@pytest.mark.usefixtures("installed")
def test_a_run_is_watched_by_what_is_held_out_from_it() -> None:
    def heldout(reward: str, **settings: Any) -> tuple[str, ...]:
        return judging.watched(TrainConfig(reward, **{"heldout_prompts": 8, **settings})).heldout

    assert heldout("vendi:clap") == NAMES
    assert heldout("per-song-fad:clap@airs") == (TUNEBOOK,)
    assert heldout("vendi:clap + vendi:logmel") == ()
    assert heldout("vendi:clap", at_least=("dataset-fad:clap@tunebook",)) == (AIRS,)
    assert heldout("vendi:clap", heldout=("vendi:vae",)) == ("vendi:vae",)
    assert heldout("vendi:clap", heldout_prompts=0) == ()
    assert heldout("vendi:clap", pipeline="stable-audio-open") == ()
