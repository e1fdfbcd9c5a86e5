"""Let people hear a run: every few steps clips of the same prompts and seeds, in its folder and for its trackers.

`loop.loop` makes a `Listening` for runs with `clips_every`, and calls `Listening.after` before it records a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from dragon_rewards.media.prompts import OWN, clip_stem
from dragon_rewards.storage.files import making, write_csv
from dragon_train.loop.rollout import Stream, seeds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dragon_train.loop.learner import PolicyLearner

CLIPS = "clips"


@dataclass(frozen=True)
class Listening:
    """The clips by which a run can be heard.

    Attributes:
        learner: of the run.
        prompts: one for each clip.
        folder: of the run.
    """

    learner: PolicyLearner
    prompts: Sequence[str]
    folder: Path

    def after(self, step: int) -> None:
        """Make the clips after so many steps, if they are due; after the first step, the untuned model's, too.

        Those come no earlier, as a run that fails in its first step leaves no folder. One process makes all clips.
        """
        config = self.learner.config
        if not self.learner.processes.leads:
            return
        if step == 1:
            with self.learner.reference():
                self.write(0)
        if step % config.clips_every == 0 or step == config.steps:
            with self.learner.averaged():
                self.write(step)

    @torch.no_grad()
    def write(self, step: int) -> None:
        """Write what the policy makes now to a folder with the number of the step, and show it to the trackers."""
        policy, processes = self.learner.policy, self.learner.processes
        numbers = seeds(Stream.CLIPS, self.learner.config.seed, count=len(self.prompts))
        place, names = self.folder / CLIPS / f"step-{step:06d}", list[str]()
        with making(place) as temporary:
            for number, (prompt, seed) in enumerate(zip(self.prompts, numbers, strict=True)):
                with processes.autocast():
                    (latents,) = policy.sample([prompt], [seed], self.steps, self.guidance)
                names.append(policy.write(latents, temporary / clip_stem(number, prompt)).name)
            write_csv(temporary / OWN, pd.DataFrame({"path": names, "prompt": self.prompts, "seed": numbers}))
        for tracker in processes.accelerator.trackers:
            for name, prompt in zip(names, self.prompts, strict=True):
                show(tracker, place / name, prompt, step)

    @property
    def steps(self) -> int:
        """The number of diffusion steps, which demonstrations take, too."""
        return self.learner.config.demonstration_steps

    @property
    def guidance(self) -> float:
        """The strength of guidance, which demonstrations have, too."""
        return self.learner.config.guidance


def show(tracker: Any, path: Path, prompt: str, step: int) -> None:
    """Give a clip to a tracker that takes media of its kind; others get none.

    Args:
        tracker: of accelerate.
        path: the file of the clip.
        prompt: what it was made of.
        step: the number of the step.
    """
    tag, kind = f"{CLIPS}/{path.stem}", path.suffix
    if tracker.name == "tensorboard" and kind == ".wav":
        import soundfile

        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        tracker.writer.add_audio(tag, samples.mean(1), step, sample_rate=rate)  # which has one channel
    elif tracker.name == "tensorboard" and kind == ".png":
        import numpy as np
        from PIL import Image

        tracker.writer.add_image(tag, np.asarray(Image.open(path)), step, dataformats="HWC")
    elif tracker.name == "wandb" and kind in {".wav", ".png"}:
        import wandb

        media = wandb.Audio if kind == ".wav" else wandb.Image
        tracker.run.log({tag: media(str(path), caption=prompt)}, step=step)
