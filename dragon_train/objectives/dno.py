"""Learn from preferences in rounds, each against the policy that the last one ended with (DNO, arXiv 2404.03715).

In a step of `loop.loop`, `collect` generates groups of clips (`objectives.groups`) and takes from each the pair that a
jury tells apart best; `losses` is Diffusion-DPO's, with the previous policy as the reference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.nn.functional import logsigmoid

from dragon_train.fields import check_fields
from dragon_train.objective_options import DNOOptions
from dragon_train.objectives.advantages import win_rates
from dragon_train.objectives.groups import Groups, judged_groups
from dragon_train.objectives.preference import Demonstrations, implicit_rewards

if TYPE_CHECKING:
    from torch import Tensor

    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Learner, Rollout


@dataclass(frozen=True)
class _DNO:
    """What `dno` takes from the configuration of a run."""

    beta: float
    steps: int


@dataclass(frozen=True)
class DNO(DNOOptions, _DNO):
    """Direct Nash Optimization (Rosset et al., arXiv 2404.03715, algorithm 2) for a jury of rewards.

    A clip's win rate is the share of its group that it beats, averaged over the parts of a mixture, each of which has
    one vote: a preference that may go round in circles, as no single reward can. Of each group the best clip x+ and the
    worst x- are a pair if their win rates differ by `margin` or more. With r the implicit reward against the policy
    that the last round ended with (there equation 13):

        loss = -log sigmoid(beta (r(x+) - r(x-)))

    Clips are of the policy as it is in each step, and no pairs of earlier rounds are learnt again. Nothing holds the
    policy near the untuned model.

    Attributes:
        beta: the strength of the pull toward the last round's policy.
        steps: the number of steps of the run.
    """

    def __post_init__(self) -> None:
        check_fields(self, "options.")

    def collect(self, rollout: Rollout) -> Demonstrations:
        """Generate groups of clips, and pair the best with the worst of each, where the jury tells them apart."""
        groups = judged_groups(rollout, self.group, separately=True)
        return self.pairs(groups, win_rates(groups.judged, 0.0).mean(0))

    def pairs(self, groups: Groups, rates: Tensor) -> Demonstrations:
        """Return the pairs of groups whose win rates, (prompts, group), differ by the margin or more.

        Where none do, nothing is learnt in this step.
        """
        best, worst, lead = rates.argmax(1), rates.argmin(1), rates.amax(1) - rates.amin(1)
        chosen = ((lead >= self.margin) & (lead > 0)).nonzero()[:, 0]
        rows, values = chosen.to(groups.latents.device), groups.judged.sum(0)
        prompts = [groups.prompts[row] for row in chosen.tolist()]
        positive, negative = (groups.latents[rows, side[chosen].to(rows.device)] for side in (best, worst))
        kept = float(values[chosen, best[chosen]].double().mean())
        figures = float(values.double().mean()), kept
        return Demonstrations(positive, negative, prompts, prompts, *figures, comparable=len(chosen) / len(lead))

    def losses(self, learner: Learner, experience: Demonstrations) -> Tensor:
        """Return the loss of each pair, (pairs,), with gradient."""
        positive, negative = implicit_rewards(learner, experience, "previous")
        return -logsigmoid(self.beta * (positive - negative))

    def after(self, learner: Learner, step: int) -> None:
        """Begin the next round where one is over, against the policy as it is then."""
        if step % math.ceil(self.steps / self.rounds) == 0:
            learner.follow(0.0)


def dno(config: TrainConfig) -> DNO:
    """Build the objective from beta, the steps and the options of a configuration.

    Raises:
        ConfigError: an option has a value that it does not allow.
    """
    options: Any = config.options
    return DNO(beta=config.beta, steps=config.steps, **options)
