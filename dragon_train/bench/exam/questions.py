"""Draw what an exam asks: the judges, by a digest of the run's weights, and the prompts that the run never saw.

Which judges a run will meet cannot be known before its weights are (the tasks of WorldTest are unknown beforehand, too:
arXiv 2510.19788), so that no setting can be chosen by them.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from dragon_rewards import compose, load_registry
from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.evaluation import is_held_out
from dragon_rewards.mixture import compose_mixture
from dragon_rewards.names import RewardName
from dragon_rewards.rewards import valid_names
from dragon_rewards.terminal.printable import counted
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.run_folder import ADAPTER, DENOISER, kept_prompts
from dragon_train.prompts import EMBEDDED, prompts_for, shipped_prompts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dragon_rewards.rewards import Reward
    from dragon_train.config import TrainConfig

DRAWN = 6  # judges of an exam
FEWEST, MOST = 16, 128  # prompts of an exam


def weights_digest(folder: Path) -> str:
    """Return a digest of the tuned weights of a run, 16 hexadecimal digits."""
    files = sorted([*(folder / DENOISER).glob("*.safetensors"), *folder.glob(ADAPTER)])
    return sha256(b"".join(sha256(file.read_bytes()).digest() for file in files)).hexdigest()[:16]


def draw_judges(config: TrainConfig, digest: str) -> list[Reward]:
    """Draw the judges of an exam from every reward that is installed, at random by a digest.

    A judge has another encoder and other music than every reward that the run was tuned toward or kept at a level, and
    another encoder than every reward that watched it: a run with `patience` is stopped by those.

    Args:
        config: the run.
        digest: of its weights.

    Raises:
        ConfigError: no such reward is installed.
    """
    pool = [reward for name in valid_names(load_registry()) if (reward := usable(str(name), config)) is not None]
    if not pool:
        raise ConfigError(
            f"no installed reward is independent of what the run was tuned toward and watched by ({config.reward}); "
            "install another encoder: dragon list encoders"
        )
    return sorted(pool, key=lambda reward: sha256(f"{digest} {reward.name}".encode()).digest())[:DRAWN]


def usable(name: str, config: TrainConfig) -> Reward | None:
    """Return a reward if it may judge the exam of a run, and has all that it needs."""
    tuned = [part.name for part in (*compose_mixture(config.reward).parts, *map(compose, config.at_least))]
    heard = {RewardName.parse(watched).encoder for watched in config.heldout}
    if RewardName.parse(name).encoder in heard or not all(is_held_out(reward, name) for reward in tuned):
        return None
    with suppress(DragonError):  # parts that are not installed, weights that are not here
        reward = compose(name)
        reward.require_weights()
        return reward
    return None


def exam_prompts(folder: Path, config: TrainConfig, path: Path | None) -> list[str]:
    """Return the prompts of an exam: the embedded pipeline's own, or what of a list the run has not seen.

    Args:
        folder: of the run, which has the prompts that it was tuned on and compared on.
        config: the run.
        path: a file of prompts, with the columns that the pipeline takes; None for the defaults.

    Raises:
        DragonError: the file cannot be read, or has a column that the pipeline does not take; or too few are left.
    """
    kept = kept_prompts(folder)
    seen = {*kept.train, *kept.heldout}
    own = path is None and config.pipeline == EMBEDDED
    texts: Sequence[str] = prompts("exam") if own else prompts_for(config.pipeline, path or shipped_prompts())
    fresh = [text for text in dict.fromkeys(texts) if text not in seen][:MOST]
    if len(fresh) < FEWEST:
        raise ConfigError(
            f"{folder} leaves {counted(len(fresh), 'prompt')} that it was neither tuned on nor compared on, and an "
            f"exam takes {FEWEST}; give --prompts FILE with others"
        )
    return fresh
