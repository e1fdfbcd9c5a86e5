"""Judges that nothing is tuned toward: rewards of the plugin dragon-reward-musicnn, whose encoder has heard real music.

They watch runs of the embedded pipeline, and score every model of a benchmark beside its suite. The only music that
they have statistics of is what the embedded pipeline was made with, so that other pipelines have none by default.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from dragon_rewards import compose
from dragon_rewards.errors import ComposeError, UnknownNameError
from dragon_rewards.mixture import compose_mixture
from dragon_train.prompts import EMBEDDED

if TYPE_CHECKING:
    from dragon_rewards.rewards import Reward
    from dragon_train.config import TrainConfig

JUDGES = ("per-song-fad:musicnn@airs", "per-song-fad:musicnn@tunebook")


def judges() -> list[Reward]:
    """Return the judges whose parts are installed; none without the plugin."""
    found = []
    for name in JUDGES:
        with suppress(UnknownNameError, ComposeError):
            found.append(compose(name))
    return found


def judges_of(config: TrainConfig) -> list[Reward]:
    """Return the judges that are held out from every reward of a run, as to encoder and music."""
    if config.pipeline != EMBEDDED:
        return []
    from dragon_rewards.evaluation import is_held_out  # imports pandas and scipy, which a refusal need not wait for

    parts = [part.name for part in (*compose_mixture(config.reward).parts, *map(compose, config.at_least))]
    return [judge for judge in judges() if all(is_held_out(part, judge.name) for part in parts)]


def watched(config: TrainConfig) -> TrainConfig:
    """Return the configuration with the judges as held-out rewards, where it keeps prompts and names no reward."""
    if config.heldout or not config.heldout_prompts:
        return config
    return replace(config, heldout=tuple(judge.name for judge in judges_of(config)))
