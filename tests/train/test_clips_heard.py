"""A run can be heard: clips of the same prompts and seeds every few steps, which change nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import soundfile
import torch
from accelerate.tracking import TensorBoardTracker
from PIL import Image
from support.results import result
from support.tiny import CONFIG, HELDOUT, PROMPTS, figures, tiny_policy, tiny_run, whole_and_resumed
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dragon_rewards.media.prompts import prompts_of
from dragon_train.loop.clips import CLIPS, show
from dragon_train.loop.tuning import load_tuned

if TYPE_CHECKING:
    from pathlib import Path

    from dragon_train.protocols import Policy

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
HEARD = replace(CONFIG, steps=3, clips_every=2, clips=3, heldout_prompts=2, learning_rate=0.1)
STEPS = ["step-000000", "step-000002", "step-000003"]


def sets(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / CLIPS).iterdir())


def audio(folder: Path) -> list[torch.Tensor]:
    """Of the clips of a step, in their order."""
    return [torch.from_numpy(soundfile.read(path)[0]) for path in sorted(folder.glob("*.wav"))]


def written(policy: Policy, like: Path, folder: Path) -> list[torch.Tensor]:
    """What a policy makes of the prompts and seeds of a set of clips."""
    folder.mkdir()
    for row in pd.read_csv(like / "prompts.csv").itertuples():
        (latents,) = policy.sample([str(row.prompt)], [int(str(row.seed))], HEARD.demonstration_steps, policy.guidance)
        policy.write(latents, folder / str(row.Index))
    return audio(folder)


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_first_clips_are_the_untuned_models_and_the_last_are_the_results(ema: float, tmp_path: Path) -> None:
    tiny_run(replace(HEARD, ema=ema), tmp_path / "run")
    clips = tmp_path / "run" / CLIPS
    assert sets(tmp_path / "run") == STEPS
    tables = [pd.read_csv(clips / step / "prompts.csv") for step in STEPS]
    assert tables[0].equals(tables[1])
    assert list(tables[0]["prompt"]) == [*HELDOUT[:2], PROMPTS[0]]
    assert prompts_of(sorted((clips / STEPS[0]).glob("*.wav"))) == [*HELDOUT[:2], PROMPTS[0]]
    tuned = tiny_policy()
    load_tuned(tuned, tmp_path / "run")
    first, last = (audio(clips / step) for step in (STEPS[0], STEPS[-1]))
    assert all(map(torch.equal, first, written(tiny_policy(), clips / STEPS[0], tmp_path / "untuned")))
    assert all(map(torch.equal, last, written(tuned, clips / STEPS[-1], tmp_path / "tuned")))
    assert not any(map(torch.equal, first, last))


@pytest.mark.parametrize("name", ["stable-audio", "ace-step", "audioldm2"])
def test_clips_change_nothing_of_a_run(name: str, tmp_path: Path) -> None:
    plain = tiny_run(replace(HEARD, clips_every=0), tmp_path / "plain", tiny_policy(name))
    heard = tiny_run(HEARD, tmp_path / "heard", tiny_policy(name))
    assert figures(plain) == figures(heard)
    ours, theirs = result(tmp_path / "heard"), result(tmp_path / "plain")
    assert all(torch.equal(ours[each], theirs[each]) for each in theirs)
    assert not (tmp_path / "plain" / CLIPS).exists()


def test_an_interrupted_run_has_the_same_clips(tmp_path: Path) -> None:
    whole_and_resumed(HEARD, tmp_path)
    assert sets(tmp_path / "halved") == STEPS
    for step in STEPS:
        one, other = (audio(tmp_path / name / CLIPS / step) for name in ("whole", "halved"))
        assert all(map(torch.equal, one, other))


def test_tensorboard_plays_them(tmp_path: Path) -> None:
    tiny_run(replace(HEARD, trackers=("tensorboard",)), tmp_path)
    events = EventAccumulator(str(tmp_path / "dragon"), size_guidance={"audio": 0})
    events.Reload()
    names = [path.stem for path in sorted((tmp_path / CLIPS / STEPS[0]).glob("*.wav"))]
    assert events.Tags()["audio"] == [f"{CLIPS}/{name}" for name in names]
    for name in names:
        told = events.Audio(f"{CLIPS}/{name}")
        assert [event.step for event in told] == [0, 2, 3]
        for event, step in zip(told, STEPS, strict=True):
            path = tmp_path / "told.wav"
            path.write_bytes(event.encoded_audio_string)
            (sound, rate), (own, own_rate) = (
                soundfile.read(path),
                soundfile.read(tmp_path / CLIPS / step / f"{name}.wav"),
            )
            assert rate == own_rate
            assert abs(sound - own.mean(1)).max() < 2 / 2**15


def test_tensorboard_shows_images(tmp_path: Path) -> None:
    tracker = TensorBoardTracker("dragon", tmp_path)
    tracker.start()
    image = Image.new("RGB", (6, 4), (255, 0, 0))
    image.save(tmp_path / "0000-a-red-house.png")
    show(tracker, tmp_path / "0000-a-red-house.png", "a red house", 10)
    tracker.finish()
    events = EventAccumulator(str(tmp_path / "dragon"))
    events.Reload()
    (told,) = events.Images(f"{CLIPS}/0000-a-red-house")
    assert (told.step, told.width, told.height) == (10, 6, 4)
