"""Learning: which weights, beside which reference, and a step of the optimiser on what an objective asks."""

from __future__ import annotations

import math
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from diffusers.training_utils import EMAModel

from dragon_rewards.compute.devices import statistics_device
from dragon_rewards.errors import DragonError
from dragon_train.loop.tuning import check_layers, make_tuning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from dragon_train.config import TrainConfig
    from dragon_train.loop.checkpoint import Checkpoint
    from dragon_train.loop.processes import Processes
    from dragon_train.protocols import AnyExperience, Draw, Objective, Policy

CLIP_NORM = 1.0


class PolicyLearner:
    """The policy, its reference and the optimiser.

    Attributes:
        policy: is tuned in place.
        tuning: which weights learn.
        optimiser: AdamW without weight decay.
        average: the moving average of the weights, if the run keeps one.
    """

    def __init__(self, policy: Policy, config: TrainConfig, processes: Processes) -> None:
        self.policy, self.config, self.processes = policy, config, processes
        self.tuning = make_tuning(policy, config)
        optimiser = torch.optim.AdamW(self.tuning.parameters, config.learning_rate, weight_decay=0.0)
        self.optimiser = processes.accelerator.prepare(optimiser)
        self.average = EMAModel(self.tuning.parameters, decay=config.ema) if config.ema else None
        self.notes: defaultdict[str, list[Tensor]] = defaultdict(list)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        scaler = self.processes.accelerator.scaler
        return {
            "weights": self.tuning.weights(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "scaler": scaler.state_dict() if scaler else None,
        }

    def load(self, state: Checkpoint) -> None:
        """Restore what `state` gave.

        Raises:
            DragonError: the weights are of other layers.
            ValueError, LookupError, TypeError, RuntimeError, AttributeError: the rest does not fit.
        """
        check_layers(state.weights, self.tuning)
        self.tuning.load(state.weights)
        self.optimiser.load_state_dict(state.optimiser)
        if self.average:
            if state.average is None:
                raise ValueError("it has no moving average")
            self.average.load_state_dict(state.average)
            self.average.to(self.processes.device)
        if state.scaler:
            self.processes.accelerator.scaler.load_state_dict(state.scaler)
        self.check_shapes()

    def check_shapes(self) -> None:
        """Raises ValueError where what goes with the weights has not their shapes, at which torch does not look."""
        moments = [(own[name], p) for p, own in self.optimiser.state.items() for name in ("exp_avg", "exp_avg_sq")]
        means = zip(self.average.shadow_params, self.tuning.parameters, strict=True) if self.average else ()
        if any(kept.shape != parameter.shape for kept, parameter in (*moments, *means)):
            raise ValueError("the state of the optimiser, or the average, is of other weights")

    def learn(
        self, objective: Objective[AnyExperience], experience: AnyExperience, generator: torch.Generator
    ) -> dict[str, float]:
        """All gradient steps on one step's experience; returns the mean loss and what objectives noted."""
        updates = [
            self.update(objective, experience.select(rows).draw(self.policy, generator))
            for rows in minibatches(len(experience), self.config, generator)
        ]
        loss, norm = (sum(column) / len(updates) for column in zip(*updates, strict=True))
        return {"loss": loss, "gradient_norm": norm, **self.noted()}

    def noted(self) -> dict[str, float]:
        """The mean of what was noted in a step, over the units of all processes; it is forgotten."""
        joined = {name: torch.cat(values) for name, values in self.notes.items()}
        self.notes.clear()
        shares = self.processes.gather({name: (float(values.mean()), len(values)) for name, values in joined.items()})
        counts = {name: sum(share[name][1] for share in shares if name in share) for share in shares for name in share}
        return {
            name: sum(share[name][0] * share[name][1] for share in shares if name in share) / count
            for name, count in counts.items()
        }

    def update(self, objective: Objective[AnyExperience], batch: AnyExperience) -> tuple[float, float]:
        """One gradient step; returns the loss and the norm of its gradient."""
        own = torch.tensor(self.processes.share(range(len(batch))))
        loss = torch.zeros((), dtype=torch.float64, device=statistics_device(self.processes.device))
        self.optimiser.zero_grad(set_to_none=True)
        for rows in own.split(self.config.microbatch or max(len(own), 1)):
            part = objective.losses(self, batch.select(rows)).sum() / len(batch)
            self.processes.accelerator.backward(part)
            loss += part.detach().to(loss.device)
        self.processes.sum_gradients(self.tuning.parameters)
        norm = self.processes.accelerator.clip_grad_norm_(self.tuning.parameters, CLIP_NORM)
        norm = norm.to(loss.device).to(loss.dtype)  # a device without float64 cannot do both at once
        total, length = torch.stack([self.processes.total(loss), norm]).tolist()  # one read, so one wait for a GPU
        if not math.isfinite(total):
            raise DragonError(f"the loss became {total}; lower learning_rate or beta, and choose another --out")
        self.optimiser.step()
        if self.average:
            self.average.step(self.tuning.parameters)
        return total, length

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the policy has its averaged weights, if the run keeps an average."""
        if self.average is None:
            yield
            return
        self.average.store(self.tuning.parameters)
        self.average.copy_to(self.tuning.parameters)
        try:
            yield
        finally:
            self.average.restore(self.tuning.parameters)

    def denoising_error(self, latents: Tensor, prompts: Sequence[str], draw: Draw) -> Tensor:
        """The policy's error on each clip, (clips,), with gradient."""
        condition = self.policy.condition(prompts)
        with self.processes.autocast():
            return self.policy.denoising_error(latents, condition, draw)

    def implicit_reward(self, latents: Tensor, prompts: Sequence[str], draw: Draw) -> Tensor:
        """r(x) = |reference error|^2 - |policy error|^2, (clips,), proportional to log p_policy(x) / p_reference(x).

        The same draw serves both (arXiv 2311.12908, equation 13).
        """
        condition = self.policy.condition(prompts)
        with torch.no_grad(), self.tuning.reference(), self.processes.autocast():
            reference = self.policy.denoising_error(latents, condition, draw)
        with self.processes.autocast():
            return reference - self.policy.denoising_error(latents, condition, draw)

    def note(self, name: str, values: Tensor) -> None:
        """Record a figure, (units,); the mean over a step goes into its row."""
        self.notes[name].append(values.detach())

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the units that all processes have in memory now, without gradient."""
        if self.processes.size == 1:
            return values.detach().mean()
        count = torch.tensor(float(len(values)), device=values.device)
        return self.processes.total(values.sum()) / self.processes.total(count)


def minibatches(units: int, config: TrainConfig, generator: torch.Generator) -> Iterator[Tensor]:
    """The units in random order, in equal parts of at most `minibatch`, `epochs` times."""
    for _ in range(config.epochs):
        order = torch.randperm(units, generator=generator)
        yield from order.tensor_split(math.ceil(units / config.minibatch))
