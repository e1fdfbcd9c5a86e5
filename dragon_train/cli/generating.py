"""What the options of verbs that generate clips choose: prompts, pipeline, steps and guidance."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dragon_rewards.errors import ConfigError
from dragon_rewards.weights import require_weights
from dragon_train.loop.run_folder import check_result, stored_config
from dragon_train.prompts import EMBEDDED, prompts_for
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dragon_train.descriptors import PipelineInfo

STEPS, GUIDANCE = 40, 3.0  # without a run: more than demonstrations need, as it is for listening
FORMER = (
    "dragon: --steps of this command is now --diffusion-steps, as `dragon train --steps` counts steps of training; "
    "version 0.2 is the last that takes the former name"
)


def chosen_pipeline(name: str | None, run: Path | None) -> PipelineInfo:
    """Choose the pipeline of this name, or else the one that a run tuned, or else the embedded one.

    Raises:
        UnknownNameError: there is none of this name.
        WeightsError: its weights are not on this machine.
        ConfigError: the folder holds no finished run.
    """
    if run is not None:
        check_result(run)
        name = name or stored_config(run).pipeline
    info = load_train_registry().pipeline(name or EMBEDDED)
    require_weights(f"pipeline '{info.name}'", info.weights)
    return info


def given_prompts(prompts: Sequence[str], file: Path | None, pipeline: str = EMBEDDED) -> Sequence[str]:
    """Return the prompts of the command line, or the prompts in a file, with the columns that the pipeline takes.

    Raises:
        ConfigError: neither or both are given, or a prompt is empty.
        DragonError: the file cannot be read, or has a column that the pipeline does not take.
    """
    if bool(prompts) == bool(file):
        raise ConfigError("give prompts, or --prompts and a file of them, and not both")
    texts = prompts_for(pipeline, file) if file else prompts
    if any("\udc80" <= letter <= "\udcff" for text in texts for letter in text):  # bytes, as Python has them
        raise ConfigError(
            "a prompt holds bytes that are no text in UTF-8; set the terminal to UTF-8, or give --prompts"
        )
    if not all(text.strip() for text in texts):
        raise ConfigError("a prompt is empty; describe the music, for example 'a slow hymn on the organ'")
    return texts


def how_sampled(run: Path | None, steps: int | None, former: int | None, guidance: float | None) -> tuple[int, float]:
    """Choose diffusion steps and guidance: what is given, else what the run was tuned with; say on stderr which.

    Args:
        run: folder of a run, or None.
        steps: of `--diffusion-steps`.
        former: of `--steps`, the former name of that option.
        guidance: of `--guidance`.

    Raises:
        ConfigError: the former name of an option is given beside the present one.
    """
    if former is not None:
        if steps is not None:
            raise ConfigError("--steps is the former name of --diffusion-steps; give the latter alone")
        print(FORMER, file=sys.stderr)
    tuned = stored_config(run) if run else None
    chosen = steps or former or (tuned and tuned.demonstration_steps) or STEPS
    guided = guidance or (tuned and tuned.guidance) or GUIDANCE
    print(f"{chosen} diffusion steps, guidance {guided:g}", file=sys.stderr)
    return chosen, guided
