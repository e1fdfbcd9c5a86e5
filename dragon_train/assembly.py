"""Build the parts of a run from its configuration, in one place for training, benchmarks, ablations and estimates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dragon_rewards.mixture import compose_mixture
from dragon_train.objectives.configured import make_objective
from dragon_train.pipelines.loading import loading_of
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    import torch

    from dragon_rewards.rewards import AnyReward
    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Objective, Policy


@dataclass(frozen=True)
class Parts:
    """The parts of a run: the policy that it tunes, the reward it is tuned toward, and the objective that it learns by.

    Attributes:
        policy: the pipeline, loaded onto its device in the precision of the run.
        reward: the reward, or the mixture of rewards, that is maximised.
        objective: what the policy learns from its generations, and by which loss.
    """

    policy: Policy
    reward: AnyReward
    objective: Objective[Any]


def assemble(config: TrainConfig, device: torch.device) -> Parts:
    """Load the pipeline and build the reward and the objective that a configuration names.

    Raises:
        DragonError: one of them is unknown, does not compose, or cannot be built.
    """
    reward, objective = compose_mixture(config.reward), make_objective(config)
    policy = load_train_registry().pipeline(config.pipeline).factory(loading_of(config, device))
    return Parts(policy, reward, objective)
