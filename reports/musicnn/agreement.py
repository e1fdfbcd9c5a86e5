"""Does `tag-agreement` hear the instrument that a prompt names? Clips of the untuned embedded model.

    python agreement.py SCRATCH      # clips that are in SCRATCH are kept

For each instrument that the model makes and that is a tag, the clips that it was asked for are compared with the clips
of all other instruments: the AUC is the share of pairs in which the agreement with the instrument's name is greater in
the clip that it was asked for. The last row compares clips that were asked to be slow with clips that were asked to be
fast. Beside it the AUC of the cosine in `clap`, the embedded encoder, which the same captions trained. Eight diffusion
steps, the pipeline's own guidance. Writes agreement.csv and agreement.md beside itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import torch

from dragon_rewards import Clips, compose
from dragon_rewards.media.audio import read_audio, write_audio
from dragon_rewards.storage.results import write_table
from dragon_train.registry import load_train_registry

INSTRUMENTS = (  # that the embedded model knows; a word of each is a tag, or a synonym of one, for the first five
    *("fiddle", "flute", "guitar", "harpsichord", "piano"),
    *("accordion", "banjo", "clarinet", "organ", "trumpet"),
)
HEARD = 5
FORMS = ("a slow waltz", "a fast jig", "a steady reel", "a slow hymn", "a fast polka", "a calm slip jig")
SLOW, FAST = (0, 3), (1, 4)  # places in FORMS
STEPS, GUIDANCE, RATE = 8, 3.0, 16_000
REWARDS = ("tag-agreement:musicnn-tags", "clap-score:clap")


def generated(folder: Path) -> torch.Tensor:
    """Clips (instruments, forms, samples), made where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    policy = load_train_registry().pipeline("embedded").factory()
    for number, instrument in enumerate(INSTRUMENTS):
        paths = [folder / f"{instrument}-{row}.wav" for row in range(len(FORMS))]
        if not all(path.exists() for path in paths):
            prompts = [f"{form} played on the {instrument}" for form in FORMS]
            seeds = [number * len(FORMS) + row for row in range(len(FORMS))]
            for path, clip in zip(paths, policy.decode(policy.sample(prompts, seeds, STEPS, GUIDANCE)), strict=True):
                write_audio(path, clip, RATE)
    names = [folder / f"{instrument}-{row}.wav" for instrument in INSTRUMENTS for row in range(len(FORMS))]
    clips = torch.stack([read_audio(path)[0].mean(0) for path in names])
    shaped: torch.Tensor = clips.unflatten(0, (len(INSTRUMENTS), len(FORMS)))
    return shaped


def auc(higher: torch.Tensor, lower: torch.Tensor) -> float:
    """The share of pairs in which the first is greater; ties count half."""
    return float(((higher[:, None] > lower).double() + (higher[:, None] == lower).double() / 2).mean())


@torch.no_grad()
def values(clips: torch.Tensor, reward: str, prompt: str) -> torch.Tensor:
    """The reward of clips (instruments, forms, samples), all under the same prompt, (instruments, forms)."""
    judged = compose(reward).value(Clips(clips.flatten(0, 1), RATE, [prompt] * clips.shape[0] * clips.shape[1]))
    return judged.reshape(clips.shape[:2])


def of_instrument(clips: torch.Tensor, number: int, reward: str) -> float:
    """The AUC by which clips of an instrument agree more with its name than the clips of all others."""
    found = values(clips, reward, f"music for {INSTRUMENTS[number]}")
    return auc(found[number], torch.cat([found[:number], found[number + 1 :]]).flatten())


def of_tempo(clips: torch.Tensor, reward: str) -> float:
    """The AUC by which slow clips agree more with the word than fast ones."""
    found = values(clips, reward, "slow music")
    return auc(found[:, SLOW].flatten(), found[:, FAST].flatten())


def main(scratch: Path) -> None:
    """A row for each instrument that is a tag, and one for the tempo."""
    clips = generated(scratch)
    rows: list[dict[str, object]] = [
        {"asked for": name, "clips": len(FORMS)} | {reward: of_instrument(clips, number, reward) for reward in REWARDS}
        for number, name in enumerate(INSTRUMENTS[:HEARD])
    ]
    slow = {"asked for": "slow, not fast", "clips": len(SLOW) * len(INSTRUMENTS)}
    rows.append(slow | {reward: of_tempo(clips, reward) for reward in REWARDS})
    write_table(Path(__file__).parent / "agreement", pd.DataFrame(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
