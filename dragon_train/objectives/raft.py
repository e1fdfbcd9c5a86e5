"""Learn the best of several generations of each prompt, as if they were data (RAFT, Dong et al., arXiv 2304.06767).

In a step of `loop.loop`, `RAFT.collect` keeps the winners of several sets of clips (`loop.selection.better_of`), or,
after a pilot, all clips that are good enough, of as many as `objectives.budget` gives each prompt. `losses` is the
denoising error on them, which `loop.learner` minimises.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.errors import ConfigError
from dragon_rewards.media.media import Media
from dragon_rewards.mixture import compose_mixture
from dragon_train.fields import check_fields
from dragon_train.loop.feasible import check_judges_clips
from dragon_train.loop.selection import better_of
from dragon_train.objective_options import RAFTOptions
from dragon_train.objectives.budget import allocated, claims
from dragon_train.protocols import Generations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from dragon_rewards.rewards import AnyReward
    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Draw, Learner, Policy, Rollout


@dataclass(frozen=True)
class Winners:
    """The clips to imitate: the best generation of each prompt, or all that are good enough.

    Attributes:
        latents: the latents of the winners, (winners, ...).
        prompts: the prompt of each winner.
        weight: how much each winner counts, (winners,); 1 on average.
        figures: `reward`, the mean reward over all samples, or over the pilot's, and `best_reward`, the winners'.
        noise: what was drawn for the gradient step.
    """

    latents: Tensor
    prompts: Sequence[str]
    weight: Tensor
    figures: Mapping[str, float]
    noise: Draw | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def select(self, rows: Tensor) -> Winners:
        """Return the winners that `rows`, a tensor of indices, names."""
        prompts, rows = [self.prompts[row] for row in rows.tolist()], rows.to(self.latents.device)
        noise = None if self.noise is None else self.noise.select(rows)
        return replace(self, latents=self.latents[rows], prompts=prompts, weight=self.weight[rows], noise=noise)

    def draw(self, policy: Policy, generator: torch.Generator) -> Winners:
        """Return the same winners with fresh noise and noise levels."""
        return replace(self, noise=policy.draw(self.latents, generator))


@dataclass(frozen=True)
class RAFT(RAFTOptions):
    """An objective whose loss is the denoising error of the winner, one of `samples` generations of its prompt.

    Winners of a reward that judges sets are the set, one clip for each prompt, that greedy exchanges find. Nothing
    holds the policy near the reference but the number of steps.

    With a pilot, clips are accepted rather than the best of each prompt taken: a clip is if its reward is among the
    best 1 / `samples` of the pilot's clips of all prompts. What is left of the budget goes where it lowers the variance
    of the gradient most (GVM-RAFT, arXiv 2505.02391, algorithm 2). Of n_i clips of prompt i of which the share p_i is
    accepted, each accepted clip has the weight 1 / (n_i p_i), up to a common factor: prompts with accepted clips count
    alike, however many these are (there equation 6). Here p_i is taken over all n_i clips, and not over the pilot's:
    the mean over accepted clips has no bias then, and a lucky one in the pilot does not weigh many times its due.
    """

    def __post_init__(self) -> None:
        check_fields(self, "options.")
        if self.pilot >= self.samples:
            raise ConfigError(f"options.pilot = {self.pilot}: must be less than options.samples = {self.samples}")
        if self.gradient_norms and not self.pilot:
            raise ConfigError("options.gradient_norms = true: they are the pilot's; set options.pilot, say 4, too")

    def collect(self, rollout: Rollout) -> Winners:
        """Sample several clips for each prompt of the step, and keep the best."""
        return self.accepted(rollout) if self.pilot else self.best(rollout)

    def best(self, rollout: Rollout) -> Winners:
        """Sample equally many clips for each prompt of the step, and keep the best of each."""
        sets = [rollout.generate() for _ in range(self.samples)]
        with rollout.clock.phase("selecting"):
            best = reduce(partial(better_of, rollout.reward), sets)
            *sampled, kept = set_values(rollout.reward, [made.clips for made in (*sets, best)])
        figures = {"reward": sum(sampled) / len(sampled), "best_reward": kept}
        return Winners(best.latents, best.prompts, torch.ones(len(best.prompts)).to(best.latents.device), figures)

    def accepted(self, rollout: Rollout) -> Winners:
        """Sample a pilot and, where it says, further clips; keep all that are good enough."""
        pilot = joined([rollout.generate() for _ in range(self.pilot)])
        numbers = self.numbers(rollout, pilot)
        rows = [row for row, number in enumerate(numbers) for _ in range(number - self.pilot)]
        made = joined([pilot, rollout.generate(rows)])
        with rollout.clock.phase("selecting"):
            values, good = self.judged(rollout.reward, made.clips, len(pilot.prompts))
        place = torch.tensor([*range(len(numbers))] * self.pilot + rows)[good]
        weight = 1 / place.bincount()[place].to(made.latents)
        figures = {
            "reward": float(values[: len(pilot.prompts)].mean()),
            "best_reward": float(values[good].mean()),
            "accepted": len(place) / len(values),
            "fewest_clips": min(numbers),
            "most_clips": max(numbers),
        }
        latents = made.latents[good.to(made.latents.device)]
        return Winners(latents, [rollout.prompts[i] for i in place.tolist()], weight / weight.mean(), figures)

    def numbers(self, rollout: Rollout, pilot: Generations) -> list[int]:
        """Return how many clips each prompt has, of which the pilot made the first."""
        count, (_, good) = len(rollout.prompts), self.judged(rollout.reward, pilot.clips, len(pilot.prompts))
        norms = torch.ones(len(good), dtype=torch.float64)
        if self.gradient_norms:
            prompts = [pilot.prompts[row] for row in good.tolist()]
            norms = rollout.gradient_norms(pilot.latents[good.to(pilot.latents.device)], prompts)
        hits = torch.bincount(good % count, minlength=count)
        mean = torch.bincount(good % count, norms, count) / hits.clamp(min=1)
        return allocated(claims(mean, hits / self.pilot), self.samples * count, self.pilot)

    def judged(self, reward: AnyReward, clips: Media, pilot: int) -> tuple[Tensor, Tensor]:
        """Return the reward of each clip, and which are as good as the best 1 / `samples` of the first, the pilot's.

        All are judged together, as values of a mixture have no meaning outside of their set.
        """
        values = reward.value(clips).double().cpu()
        level = values[:pilot].quantile(1 - 1 / self.samples, interpolation="higher")
        return values, (values >= level).nonzero()[:, 0]

    def losses(self, learner: Learner, experience: Winners) -> Tensor:
        """Return the denoising error of each winner by its weight, (winners,), with gradient.

        Raises:
            ValueError: no noise was drawn for the winners.
        """
        if experience.noise is None:
            raise ValueError("these winners have no noise yet: call `draw`")
        return experience.weight * learner.denoising_error(experience.latents, experience.prompts, experience.noise)


def joined(sets: Sequence[Generations]) -> Generations:
    """Join several sets of clips into one, in their order."""
    latents, clips = torch.cat([made.latents for made in sets]), Media.concatenate([made.clips for made in sets])
    return Generations(latents, clips, [seed for made in sets for seed in made.seeds])


def set_values(reward: AnyReward, sets: Sequence[Media]) -> list[float]:
    """Return the reward of each of several equally large sets; for rewards of single clips, its mean over the set."""
    clips = Media.concatenate(sets)
    rows = torch.arange(len(clips)).view(len(sets), -1)
    values = reward.value(clips)[rows].mean(1) if reward.kind.per_clip else reward.subsets(clips)(rows)
    return values.double().tolist()


def raft(config: TrainConfig) -> RAFT:
    """Build the objective from the options of a configuration.

    Raises:
        ConfigError: an option has a value that it does not allow, or there is a pilot, and what judges is of sets.
    """
    options: Any = config.options
    objective = RAFT(**options)
    for name in (config.reward, *config.at_least) if objective.pilot else ():
        check_judges_clips(compose_mixture(name), f"options.pilot = {objective.pilot}", "use options.pilot = 0")
    return objective
