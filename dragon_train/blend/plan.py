"""Decide what the blends of a run are measured by, and on which prompts, before any model is loaded."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from dragon_rewards import compose
from dragon_rewards.errors import ConfigError
from dragon_rewards.mixture import compose_mixture
from dragon_rewards.weights import require_weights
from dragon_train.blend.shares import candidates, inner
from dragon_train.embedded.prompts import prompts as embedded_prompts
from dragon_train.judges import judges_of
from dragon_train.loop.run_folder import check_result, kept_prompts, stored_config
from dragon_train.loop.start import start_of
from dragon_train.prompt_table import as_entry
from dragon_train.prompts import EMBEDDED, prompts_for
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dragon_rewards.rewards import AnyReward, Reward
    from dragon_train.blend.shares import Shares
    from dragon_train.config import TrainConfig
    from dragon_train.descriptors import PipelineInfo

WATCHED = 64  # prompts of the embedded pipeline, for a run that kept none from training


@dataclass(frozen=True)
class Plan:
    """The blends of a run that are to be measured, and what measures them.

    Attributes:
        run: the folder of the run.
        config: its settings.
        reward: what it maximised.
        watched: rewards that it did not maximise.
        prompts: one for each clip of a blend.
        parts: the number of parts of the denoiser.
        shares: the shares that all parts have together.
    """

    run: Path
    config: TrainConfig
    reward: AnyReward
    watched: tuple[Reward, ...]
    prompts: tuple[str, ...]
    parts: int
    shares: Shares

    @property
    def info(self) -> PipelineInfo:
        """The descriptor of the pipeline that the run tuned."""
        return load_train_registry().pipeline(self.config.pipeline)

    @property
    def variety(self) -> Reward:
        """The Vendi score of the clips, as the encoder of the first reward hears them: what a run records, too."""
        return compose(f"vendi:{self.reward.parts[0].encoder.name}")

    @property
    def judging(self) -> tuple[Reward, ...]:
        """The rewards that judge the clips of every blend; one may be among them twice."""
        return (*self.watched, *self.reward.parts, self.variety)

    @property
    def blends(self) -> list[Shares]:
        """The shares of the parts of each blend that is measured."""
        uniform = [(share,) * self.parts for share in self.shares]
        return [*uniform, *(each for share in inner(self.shares) for each in candidates(share, self.parts))]

    @property
    def settings(self) -> dict[str, Any]:
        """What the figures of blends depend on beside the weights, as JSON has it."""
        digest = sha256(json.dumps(list(map(as_entry, self.prompts))).encode()).hexdigest()[:16]
        origins = {reward.name: reward.origin for reward in self.judging}
        made: dict[str, Any] = json.loads(
            json.dumps({"config": asdict(self.config), "parts": self.parts, "prompts": digest, "rewards": origins})
        )
        return made | {"shares": list(self.shares)}

    def check(self) -> None:
        """Refuse a plan for which something is missing on this machine.

        Raises:
            WeightsError: the weights of the pipeline or of an encoder are not here.
            TooFewClipsError: a reward judges sets of more clips than there are prompts.
        """
        require_weights(f"pipeline '{self.info.name}'", self.info.weights)
        for reward in self.judging:
            reward.require_weights()
            reward.check_count(len(self.prompts))


def make_plan(run: Path, parts: int, shares: Shares, file: Path | None) -> Plan:
    """Make the plan for the blends of a run.

    It is watched by the rewards that it named as held out, or else by the judges that are (`dragon_train.judges`).

    Args:
        run: the folder of the run.
        parts: the number of parts of the denoiser.
        shares: the shares that all parts have together, in any order.
        file: of prompts; None for the prompts that the run kept from training.

    Raises:
        DragonError: the run is not finished, kept no prompts, or what it names or started from is not there.
    """
    check_result(run)
    start_of(run)
    config = stored_config(run)
    watched = [compose(name) for name in config.heldout] or judges_of(config)
    texts = tuple(prompts_for(config.pipeline, file) if file else prompts_to_watch(run, config))
    plan = Plan(run, config, compose_mixture(config.reward), tuple(watched), texts, parts, tuple(sorted({*shares})))
    plan.check()
    return plan


def prompts_to_watch(run: Path, config: TrainConfig) -> Sequence[str]:
    """Return the prompts by which a run was watched; never the prompts of an exam, as shares are chosen by them.

    Raises:
        ConfigError: the run kept none.
    """
    kept = kept_prompts(run)
    if config.heldout_prompts:
        return kept.heldout[: config.heldout_prompts]  # after them come those of a benchmark's exam
    if config.pipeline == EMBEDDED and kept.train == tuple(embedded_prompts("train")):
        return embedded_prompts("watch")[:WATCHED]
    raise ConfigError(f"{run} kept no prompts to watch it by; give --prompts and a file of some that it did not see")
