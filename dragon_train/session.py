"""Run a training session as `dragon train` does: check everything, build the parts, and train with a progress bar.

All that can be refused is refused before models load, which takes longest. The training itself is
`dragon_train.loop.loop.train`.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dragon_rewards import compose
from dragon_rewards.errors import ConfigError
from dragon_rewards.guard import resumable
from dragon_rewards.mixture import compose_mixture
from dragon_rewards.names import RewardName
from dragon_rewards.storage.files import check_folder
from dragon_rewards.storage.locks import locked
from dragon_rewards.terminal.progress import Progress, progress
from dragon_rewards.weights import require_weights
from dragon_train.judges import watched
from dragon_train.loop.ranks import is_alone, leads
from dragon_train.loop.run_folder import Claim, steps_done
from dragon_train.loop.start import check_start
from dragon_train.objectives.configured import completed
from dragon_train.prompts import split
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    import torch

    from dragon_rewards.rewards import AnyReward
    from dragon_train.config import TrainConfig
    from dragon_train.descriptors import PipelineInfo
    from dragon_train.protocols import Policy


def run_training(config: TrainConfig, prompts: Path | None, out: Path | None, device: str | None) -> Path:
    """Train as configured, and return the folder of the run.

    Several processes have a device each, which `accelerate launch` gives them.

    Args:
        config: the settings of the run.
        prompts: a file of prompts; None for the defaults of the pipeline and the reward.
        out: the folder of the run; None for one in `runs` that is named after the reward.
        device: the name of the device; None for the default.

    Raises:
        DragonError: something is unknown, contradictory or missing, or does not fit into memory, or the training
            failed.
    """
    config = watched(completed(config))
    info = load_train_registry().pipeline(config.pipeline)
    reward = compose_mixture(config.reward)
    folder = out or Path("runs") / slug(config.reward)
    if leads():
        check_folder(folder, "--out")
    watching = [compose(name) for name in (*config.heldout, *config.at_least)]
    require_weights(f"pipeline '{info.name}'", info.weights)
    for part in (*reward.parts, *watching):
        part.require_weights()
    texts, heldout = split(config, prompts)
    Claim(config, texts, heldout).check(folder)
    check_start(config, folder)
    warn_of_small_encoders(config, reward)
    # All that could be refused without torch, which takes seconds to import, was refused by now.
    where = placed(device, config.precision)
    from dragon_train.assembly import assemble
    from dragon_train.estimate.fit import check_fits
    from dragon_train.loop.loop import train
    from dragon_train.loop.processes import check_trackers, process_device

    check_trackers(config.trackers)
    if is_alone():  # to count takes a state of accelerate's that several processes do not share
        check_fits(info, config, process_device(where), texts[0])
    held = locked(folder) if leads() else nullcontext()  # of several processes one writes
    with held, resumable(partial(kept_steps, folder)), progress(config.reward, "steps", config.steps) as bar:
        parts = assemble(config, process_device(where))
        warn_of_post_training(info, parts.policy)
        train(config, parts.policy, reward, parts.objective, texts, folder, partial(show, bar), heldout, where)
    return folder


def placed(name: str | None, precision: str) -> torch.device | None:
    """Return where to train; None leaves it to accelerate, which has started several processes.

    Raises:
        DeviceError: torch has no such device here, or it cannot compute in the precision.
        ConfigError: one device is named for several processes.
    """
    if not is_alone() and name is not None:
        raise ConfigError("--device names one device, and accelerate gives each process its own; leave it out")
    from dragon_rewards.compute.devices import check_precision, find_device

    named = find_device(name) if name else None
    from dragon_train.loop.processes import (
        process_device,  # imports accelerate, which is more than to refuse a device takes
    )

    device = process_device(named)
    check_precision(precision, device)
    return device if is_alone() else None


def warn_of_small_encoders(config: TrainConfig, reward: AnyReward) -> None:
    """Warn on stderr where an embedded encoder judges a pipeline that is not the embedded one.

    The embedded encoders learnt ten synthesised instruments: enough for the embedded pipeline, and for no other.
    """
    small = {part.encoder.name for part in reward.parts} & {"clap", "vae"}
    if small and config.pipeline != "embedded" and leads():
        print(
            f"encoder '{min(small)}' is the embedded one, which has heard ten synthesised instruments: for a published "
            "model install one of the encoders of the field, such as plugins/dragon-reward-clap",
            file=sys.stderr,
        )


def kept_steps(folder: Path) -> str:
    """Say in words what a folder keeps of a run that was stopped, and how that goes on."""
    done = steps_done(folder)
    if not done:
        return "no step was finished; the same command begins again"
    return f"steps 1 to {done} are kept in {folder}; the same command goes on from there"


def warn_of_post_training(info: PipelineInfo, policy: Policy) -> None:
    """Warn on stderr where a checkpoint is post-trained, by what its own configuration says.

    A step of training asks the denoiser about all noise levels, as if it had not been distilled to a few steps.
    """
    if getattr(policy, "post_trained", False) and leads():
        print(
            f"pipeline '{info.name}' is post-trained: distilled to few steps, which training may undo; its authors "
            f"tune the base checkpoint instead{f', which is {info.base!r} here' if info.base else ''}",
            file=sys.stderr,
        )


def show(bar: Progress, row: dict[str, float]) -> None:
    """Print a line for a finished step, with the reward and the share of time of each phase, and advance the bar."""
    seconds = {key.removesuffix("_s"): value for key, value in row.items() if key.endswith("_s") and value}
    total = sum(seconds.values())
    shares = ", ".join(f"{phase} {value / total:.0%}" for phase, value in seconds.items())
    bar.say(f"step {row['step']:.0f}: reward {row['reward']:.4g}, {total:.1f} s: {shares}")
    bar.update(int(row["step"]))


def slug(reward: str) -> str:
    """Return the name of the folder for a reward, or for a mixture of several."""
    return "+".join(RewardName.parse(part.name).slug for part in compose_mixture(reward).parts)
