"""Learn from preferences between D+ and D- (DRAGON, arXiv 2504.15217, algorithm 1), by Diffusion-DPO or Diffusion-KTO.

In a step of `loop.loop`, `collect` generates two sets of clips with `loop.rollout`, and `choose` splits them: D+ are
the demonstrations that the reward prefers, D- the others. `losses` is what `loop.learner` then minimises, a minibatch
at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isnan
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.nn.functional import logsigmoid

from dragon_rewards.errors import ConfigError
from dragon_rewards.media.media import Media
from dragon_rewards.metrics import Selection, exchange_losses, select_pairs, select_positive, select_unpaired
from dragon_rewards.mixture import compose_mixture
from dragon_train.fields import check_fields
from dragon_train.objective_options import Beta, PreferenceOptions
from dragon_train.objectives.groups import dominates, votes
from dragon_train.protocols import Draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from dragon_rewards.rewards import AnyReward
    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Against, Generations, Learner, Policy, Rollout


AnyPreference = TypeVar("AnyPreference", bound="_Preference")


@dataclass(frozen=True)
class Demonstrations:
    """D+ and D- of one step, as pairs of a clip to be preferred and a clip to be avoided.

    Attributes:
        positive: the latents of D+, (pairs, ...).
        negative: the latents of D-, (pairs, ...).
        positive_prompts: the prompts of D+, one for each clip.
        negative_prompts: the prompts of D-; in paired selection they equal the prompts of D+.
        reward: the mean reward of the two sets as sampled.
        positive_reward: the reward of D+.
        noise: what was drawn for the gradient step; positive[i] and negative[i] share it.
        comparable: the share of the step's pairs that these are, where the others are left out as incomparable.
    """

    positive: Tensor
    negative: Tensor
    positive_prompts: Sequence[str]
    negative_prompts: Sequence[str]
    reward: float
    positive_reward: float
    noise: Draw | None = None
    comparable: float | None = None

    @property
    def figures(self) -> Mapping[str, float]:
        """The mean reward of what was sampled, the reward of D+, and the share of comparable pairs, as recorded.

        Where D+ is empty it has no reward.
        """
        figures = {"reward": self.reward, "positive_reward": self.positive_reward, "comparable": self.comparable}
        return {name: value for name, value in figures.items() if value is not None and not isnan(value)}

    def __len__(self) -> int:
        return len(self.positive)

    def select(self, rows: Tensor) -> Demonstrations:
        """Return the pairs that `rows`, a tensor of indices, names."""
        chosen, rows = rows.tolist(), rows.to(self.positive.device)
        return replace(
            self,
            positive=self.positive[rows],
            negative=self.negative[rows],
            positive_prompts=[self.positive_prompts[i] for i in chosen],
            negative_prompts=[self.negative_prompts[i] for i in chosen],
            noise=None if self.noise is None else self.noise.select(rows),
        )

    def draw(self, policy: Policy, generator: torch.Generator) -> Demonstrations:
        """Return the same pairs with fresh noise and noise levels."""
        return replace(self, noise=policy.draw(self.positive, generator))


@dataclass(frozen=True)
class _Preference(PreferenceOptions, Beta):
    """An objective that splits two sets of clips into D+ and D- (DRAGON, arXiv 2504.15217, algorithm 1)."""

    def __post_init__(self) -> None:
        check_fields(self, "options.")

    def collect(self, rollout: Rollout) -> Demonstrations:
        """Generate two sets of clips for the prompts of the step, and choose D+ and D- among them."""
        a, b = rollout.generate(), rollout.generate()
        with rollout.clock.phase("selecting"):
            if self.rule == "front":
                return choose_dominating(rollout.reward, a, b)
            return choose(rollout.reward, a, b, rollout.pool, rollout.config, rollout.generator)


@dataclass(frozen=True)
class DiffusionDPO(_Preference):
    """The objective Diffusion-DPO (Wallace et al., arXiv 2311.12908, equation 14).

    The winner x+ and the loser x- of a pair are noised with the same noise to the same level:

        loss = -log sigmoid(beta (r(x+) - r(x-))),    r(x) = |reference error|^2 - |policy error|^2

    Attributes:
        beta: the strength of the pull toward the reference.
    """

    def losses(self, learner: Learner, experience: Demonstrations) -> Tensor:
        """Return the loss of each pair, (pairs,), with gradient."""
        positive, negative = implicit_rewards(learner, experience)
        return -logsigmoid(self.beta * (positive - negative))


@dataclass(frozen=True)
class DiffusionKTO(_Preference):
    """The objective Diffusion-KTO (Li et al., arXiv 2404.04465, equation 8; KTO, arXiv 2402.01306, equation 8).

    With r as in Diffusion-DPO and the reference point z = max(0, mean r) over all demonstrations of a gradient step (of
    a microbatch), without gradient:

        loss = 1 - sigmoid(beta (r(x+) - z)) + 1 - sigmoid(beta (z - r(x-)))

    Attributes:
        beta: the strength of the pull toward the reference.
    """

    def losses(self, learner: Learner, experience: Demonstrations) -> Tensor:
        """Return the sum of the losses of each positive and the negative beside it, (pairs,), with gradient."""
        positive, negative = implicit_rewards(learner, experience)
        z = ((learner.mean(positive) + learner.mean(negative)) / 2).clamp(min=0)
        gain = (self.beta * (positive - z)).sigmoid()
        return 2 - gain - (self.beta * (z - negative)).sigmoid()


def implicit_rewards(learner: Learner, demos: Demonstrations, against: Against = "reference") -> tuple[Tensor, Tensor]:
    """Return the implicit rewards of D+ and of D-, each (pairs,), in one pass; both sets share noise and level.

    It notes their `margin`, and `kl`: the implicit reward of what the policy made lately estimates, in units of the
    denoising error, how far the policy has moved from the reference, or from the previous policy.

    Raises:
        ValueError: no noise was drawn for the demonstrations.
    """
    if demos.noise is None:
        raise ValueError("these demonstrations have no noise yet: call `draw`")
    latents = torch.cat([demos.positive, demos.negative])
    prompts = [*demos.positive_prompts, *demos.negative_prompts]
    rewards = learner.implicit_reward(latents, prompts, Draw.cat([demos.noise, demos.noise]), against)
    positive, negative = rewards.chunk(2)
    learner.note("margin", positive - negative)
    learner.note("kl", rewards)
    return positive, negative


def choose(
    reward: AnyReward,
    a: Generations,
    b: Generations,
    pool: Sequence[Media],
    config: TrainConfig,
    generator: torch.Generator,
) -> Demonstrations:
    """Split two sets of clips for the same prompts into D+ and D-.

    Args:
        reward: what judges the clips, each by itself or a set as a whole.
        a: one clip for each prompt.
        b: another clip for each prompt.
        pool: the clips of earlier steps, which count beside D+ where `config.pool` is not 0.
        config: says whether clips of the same prompt compete (`pairing`), and which share of the pairs is kept
            (`keep`).
        generator: draws the order in which exchanges of clips are tried.
    """
    if reward.kind.per_clip:
        chosen = choose_clips(reward, a.clips, b.clips, config)
    else:
        chosen = choose_set(reward, a.clips, b.clips, pool, config, generator)
    return demonstrations(a, b, chosen)


def choose_dominating(reward: AnyReward, a: Generations, b: Generations) -> Demonstrations:
    """Choose of each pair the clip that dominates the other in the parts of a mixture; other pairs are left out.

    Which pairs are learnt from depends on the order of the clips in each part alone, and on no weight but its sign.
    Where all parts agree it is the choice by the reward, bit for bit.
    """
    clips = Media.concatenate([a.clips, b.clips])
    values, (one, other) = reward.value(clips), votes(reward, clips).chunk(2, 1)
    first, comparable = dominates(one, other), dominates(one, other) | dominates(other, one)
    pairs = torch.arange(len(first), device=first.device)
    rows = torch.stack([torch.where(first, pairs, pairs + len(first)), torch.where(first, pairs + len(first), pairs)])
    positive, negative = rows[:, comparable]
    chosen = Selection(positive, negative, float(values[positive].mean()), float(values.mean()), 0)
    ordered = keep_largest_losses(chosen, values[positive] - values[negative], 1.0)  # noise is drawn in this order
    return replace(demonstrations(a, b, ordered), comparable=float(comparable.double().mean()))


def demonstrations(a: Generations, b: Generations, chosen: Selection) -> Demonstrations:
    """Return the chosen clips of two sets as D+ and D-."""
    latents, prompts = torch.cat([a.latents, b.latents]), [*a.prompts, *b.prompts]
    chosen = replace(chosen, positive=chosen.positive.cpu(), negative=chosen.negative.cpu())
    return Demonstrations(
        latents[chosen.positive.to(latents.device)],
        latents[chosen.negative.to(latents.device)],
        [prompts[i] for i in chosen.positive.tolist()],
        [prompts[i] for i in chosen.negative.tolist()],
        chosen.mean,
        chosen.value,
    )


def choose_clips(reward: AnyReward, a: Media, b: Media, config: TrainConfig) -> Selection:
    """Choose winner and loser of each pair by a reward of single clips; unpaired, the better and worse half of all."""
    values = reward.value(Media.concatenate([a, b]))
    if config.pairing == "unpaired":
        return select_unpaired(values)
    chosen = select_pairs(values[: len(a)], values[len(a) :])
    return keep_largest_losses(chosen, values[chosen.positive] - values[chosen.negative], config.keep)


def choose_set(
    reward: AnyReward, a: Media, b: Media, pool: Sequence[Media], config: TrainConfig, generator: torch.Generator
) -> Selection:
    """Choose D+ by a reward of whole sets: the better of the two sets, improved by the exchanges that raise r(D+).

    With a pool, r counts beside D+ all that the policy made lately, this step's two sets included: what a swap is worth
    to a handful of clips is mostly their noise, and what it is worth to the population is what the policy can learn
    (subset-replace, arXiv 2607.02291).
    """
    clips = Media.concatenate([a, b, *pool])
    value, behind = reward.subsets(clips), torch.arange(len(clips) if config.pool else 0)
    chosen = select_positive(len(a), value, paired=config.pairing == "paired", pool=behind, generator=generator)
    return keep_largest_losses(chosen, exchange_losses(chosen, value, pool=behind), config.keep)


def keep_largest_losses(chosen: Selection, loss: Tensor, share: float) -> Selection:
    """Keep the pairs that matter most: a share of them, by the reward lost when winner and loser trade places.

    Args:
        chosen: D+ and D-.
        loss: the reward that each pair would lose, (pairs,).
        share: the share of the pairs that is kept, at least one pair if there is any.
    """
    kept = loss.topk(min(len(loss), max(1, round(share * len(loss))))).indices.to(chosen.positive.device)
    return replace(chosen, positive=chosen.positive[kept], negative=chosen.negative[kept])


def dpo(config: TrainConfig) -> DiffusionDPO:
    """Build Diffusion-DPO with the strength `beta` and the options of a configuration.

    Raises:
        ConfigError: an option has a value that it does not allow, or that contradicts another setting.
    """
    options: Any = config.options
    return checked(DiffusionDPO(config.beta, **options), config)


def kto(config: TrainConfig) -> DiffusionKTO:
    """Build Diffusion-KTO with the strength `beta` and the options of a configuration.

    Raises:
        ConfigError: an option has a value that it does not allow, or that contradicts another setting.
    """
    options: Any = config.options
    return checked(DiffusionKTO(config.beta, **options), config)


def checked(objective: AnyPreference, config: TrainConfig) -> AnyPreference:
    """Return the objective, unless its rule cannot serve the configuration.

    Raises:
        ConfigError: the rule `front` has no parts to compare, or meets a setting that goes by the size of the reward.
    """
    refusal = refusal_of_front(config) if objective.rule == "front" else None
    if refusal:
        raise ConfigError(f'options.rule = "front" {refusal}, or options.rule = "reward"')
    return objective


def refusal_of_front(config: TrainConfig) -> str | None:
    """Return why the rule `front` cannot serve a configuration, and what to change; None where it can."""
    reward = compose_mixture(config.reward)
    of_sets = [part.name for part in reward.parts if not part.kind.per_clip]
    if of_sets:
        return f"compares single clips, and '{of_sets[0]}' judges whole sets: take rewards of clips"
    if len(reward.parts) == 1:
        return f"compares the parts of a mixture, and '{reward.name}' has one: use a mixture, as in 'A + B'"
    if config.pairing != "paired":
        return 'compares clips of the same prompt: use pairing = "paired"'
    if config.keep != 1:
        return f"compares no sizes, and keep = {config.keep} goes by them: use keep = 1"
    if config.pool:
        return f"compares single clips, and pool = {config.pool} is for rewards of sets: use pool = 0"
    return None
