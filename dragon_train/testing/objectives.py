"""The checks of what an objective promises, in a step of four prompts on the embedded pipeline."""

from __future__ import annotations

import math
from dataclasses import MISSING
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards import compose
from dragon_rewards.compute.devices import CPU
from dragon_rewards.testing.require import require, require_equal, require_texts
from dragon_train.config import TrainConfig
from dragon_train.embedded.pipeline import load_policy
from dragon_train.loop.learner import PolicyLearner
from dragon_train.loop.loop import resolved
from dragon_train.loop.processes import Processes
from dragon_train.loop.rollout import Clock, Context, StepRollout
from dragon_train.pipelines.loading import prepared
from dragon_train.protocols import Following, Objective

if TYPE_CHECKING:
    from torch import Tensor

    from dragon_train.testing import Given

PROMPTS = ("a slow hymn on the organ", "a fast jig on the fiddle", "a sad waltz for clarinet", "a march")
REWARD = "per-song-fad:logmel@airs"  # judges clips, has gradient, and takes no network to compute


class ObjectiveCase:
    """An objective in one step of a run, and what its checks share.

    Attributes:
        info: the descriptor.
        config: the settings of the run.
    """

    def __init__(self, name: str, given: Given) -> None:
        self.info = given.registry.objective(name)
        self.config = TrainConfig(
            REWARD,
            objective=name,
            options=self.info.defaults,
            lora_rank=2,
            prompts_per_step=len(PROMPTS),
            demonstration_steps=3,
            epochs=1,
        )
        self.processes = Processes(self.config.precision, device=CPU)

    @cached_property
    def objective(self) -> Objective[Any]:
        """The objective, as a run of these settings builds it."""
        return self.info.factory(self.config)

    @cached_property
    def learner(self) -> PolicyLearner:
        """The embedded pipeline beside its reference; the adapters begin with the same weights in every case."""
        torch.manual_seed(self.config.seed)
        return PolicyLearner(prepared(load_policy(), self.config, CPU), self.config, self.processes)

    @property
    def generator(self) -> torch.Generator:
        """A source of random numbers, in the same state at every call."""
        return torch.Generator().manual_seed(0)

    def collected(self, objective: Objective[Any]) -> Any:
        """Return what an objective collects in the first step of the run."""
        config = resolved(self.config, self.learner.policy)
        context = Context(config, self.learner.policy, PROMPTS, self.processes, Clock(CPU))
        return objective.collect(StepRollout(context, compose(REWARD), 0, [], self.learner))

    @cached_property
    def experience(self) -> Any:
        """What the objective collects in the first step of the run."""
        return self.collected(self.objective)

    @property
    def batch(self) -> Any:
        """All units of the experience, with noise that is the same at every call."""
        return self.experience.draw(self.learner.policy, self.generator)

    @cached_property
    def losses(self) -> Tensor:
        """The loss of every unit of `batch`, with gradient."""
        return self.objective.losses(self.learner, self.batch)


prepare = lru_cache(maxsize=1)(ObjectiveCase)  # the checks of an objective, run one after the other, share its step


def facts(case: ObjectiveCase) -> None:
    """Check that the descriptor says what the objective is, and that every option has a default."""
    require_texts(case.info, "summary")
    lacking = [name for name, value in case.info.defaults.items() if value is MISSING]
    require(not lacking, "a default of every option", f"none of {', '.join(lacking)}", "give the fields defaults")


def units(case: ObjectiveCase) -> None:
    """Check that what is collected has units that can be selected, and figures that can be recorded."""
    found = case.experience
    promised = "collect returns an Experience: figures, len(), select(rows) and draw(policy, generator)"
    methods = [name for name in ("figures", "__len__", "select", "draw") if not hasattr(found, name)]
    require(not methods, promised, f"{type(found).__name__} without {', '.join(methods)}", "add them")
    require(len(found) > 0, "at least one unit of four prompts", "none", "return what the policy made")
    part = len(found.select(torch.tensor([0])))
    require(part == 1, "select returns the units that it is asked for", f"{part} of 1", "index every field by rows")
    drawn = len(case.batch)
    require(
        drawn == len(found), f"draw returns the same {len(found)} units", f"{drawn}", "change nothing but the noise"
    )
    figures = {name: float(value) for name, value in found.figures.items()}
    told = "reward" in figures and all(map(math.isfinite, figures.values()))
    require(told, "finite figures, `reward` among them", f"{figures}", "record the mean reward as `reward`")


def losses(case: ObjectiveCase) -> None:
    """Check that there is one finite loss for each unit, with gradient."""
    found, count = case.losses, len(case.experience)
    kept = isinstance(found, torch.Tensor) and found.is_floating_point() and found.shape == (count,)
    got = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, torch.Tensor) else type(found).__name__
    require(kept, f"a floating point loss for each unit, ({count},)", got, "take no mean over the units")
    require(found.isfinite().all(), "finite losses", f"{found.tolist()}", "look for divisions, roots and logarithms")
    require(found.requires_grad, "losses with gradient", "none", "compute them by the learner, outside of no_grad")


def gradients(case: ObjectiveCase) -> None:
    """Check that the gradient of the losses reaches weights that learn, and is finite."""
    weights = [weight for weight in case.learner.tuning.parameters if weight.requires_grad]
    loss = case.objective.losses(case.learner, case.batch).sum()
    found = [each for each in torch.autograd.grad(loss, weights, allow_unused=True) if each is not None]
    promised = "a gradient of the weights that learn"
    require(any(bool(each.any()) for each in found), promised, "zero", "let it through the learner's errors")
    finite = all(bool(each.isfinite().all()) for each in found)
    require(finite, f"{promised} that is finite", "NaN or infinity", "add a floor before a root or a division")


def deterministic(case: ObjectiveCase) -> None:
    """Check that another build collects the same from the same seeds, and has the same losses."""
    other = case.info.factory(case.config)
    again = case.collected(other).draw(case.learner.policy, case.generator)
    promised, mend = "the same losses from the same seeds", "draw from rollout.generator and the generator of `draw`"
    require_equal(other.losses(case.learner, again), case.losses, promised, mend)


def learns(case: ObjectiveCase) -> None:
    """Check that gradient steps on a step's experience change the weights that learn.

    They are put back after it, as other checks share them.
    """
    before = [weight.detach().clone() for weight in case.learner.tuning.parameters]
    row = case.learner.learn(case.objective, case.experience, case.generator)
    if isinstance(case.objective, Following):
        case.objective.after(case.learner, 1)
    moved = any(not torch.equal(old, new) for old, new in zip(before, case.learner.tuning.parameters, strict=True))
    with torch.no_grad():
        for old, new in zip(before, case.learner.tuning.parameters, strict=True):
            new.copy_(old)
    require(all(map(math.isfinite, row.values())), "finite figures of a step", f"{row}", "note finite values")
    require(moved, "weights that a step changes", "the same weights", "return losses that depend on the policy")
