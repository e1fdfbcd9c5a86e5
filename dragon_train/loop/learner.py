"""Learn: the policy beside its frozen reference, and gradient steps of the optimiser on an objective's loss.

`loop.loop` calls `PolicyLearner.learn` with what the objective collected in the step, such as D+ and D-. It goes over
these units in minibatches, draws fresh noise for each, and asks the objective's `losses` (in `dragon_train.objectives`)
what to minimise. `Lora` and `AllWeights` are the two ways to tune: they say which weights learn, and how the reference
is reached, as the policy with its adapters off or as they began, or as a frozen copy. A `Snapshot` is the policy as it
was lately, or as it began.
"""

from __future__ import annotations

import math
from collections import defaultdict
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from diffusers.training_utils import EMAModel
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer

from dragon_rewards.compute.devices import statistics_device
from dragon_rewards.errors import ConfigError, DragonError
from dragon_train.protocols import Following

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from dragon_train.config import TrainConfig
    from dragon_train.loop.processes import Processes
    from dragon_train.loop.run import Checkpoint
    from dragon_train.protocols import Against, AnyExperience, Draw, Objective, Policy

CLIP_NORM = 1.0


class PolicyLearner:
    """The policy, its reference and the optimiser.

    Attributes:
        policy: the pipeline, which is tuned in place.
        config: the configuration of the run.
        processes: the processes that train together.
        tuning: which weights learn.
        optimiser: AdamW without weight decay.
        average: the moving average of the weights, if the run keeps one.
        snapshot: the previous policy, once an objective has asked for it.
        notes: the figures that objectives noted in this step, by name.
        means: how many means over all processes the losses of this gradient step have asked for.
    """

    def __init__(
        self, policy: Policy, config: TrainConfig, processes: Processes, start: Mapping[str, Tensor] | None = None
    ) -> None:
        """Make the weights learn that the configuration names; adapters begin with the weights of `start`."""
        self.policy, self.config, self.processes = policy, config, processes
        self.tuning = make_tuning(policy, config, start)
        optimiser = torch.optim.AdamW(self.tuning.parameters, config.learning_rate, weight_decay=0.0)
        self.optimiser = processes.accelerator.prepare(optimiser)
        self.average = EMAModel(self.tuning.parameters, decay=config.ema) if config.ema else None
        self.snapshot: Snapshot | None = None
        self.notes: defaultdict[str, list[Tensor]] = defaultdict(list)
        self.means = 0

    def state(self) -> dict[str, Any]:
        """Return the weights and the state of the optimiser, the average and the scaler, for a checkpoint."""
        scaler = self.processes.accelerator.scaler
        return {
            "weights": self.tuning.weights(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "previous": self.snapshot.kept if self.snapshot else None,
            "scaler": scaler.state_dict() if scaler else None,
        }

    def load(self, state: Checkpoint) -> None:
        """Restore what `state` returned.

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
        if state.previous is not None:
            self.snapshot = Snapshot(self.tuning.parameters)
            self.snapshot.load(state.previous)
        if state.scaler:
            self.processes.accelerator.scaler.load_state_dict(state.scaler)
        self.check_shapes()

    def check_shapes(self) -> None:
        """Refuse optimiser moments and averages that have not the shapes of their weights, which torch does not check.

        Raises:
            ValueError: a shape differs.
        """
        moments = [(own[name], p) for p, own in self.optimiser.state.items() for name in ("exp_avg", "exp_avg_sq")]
        means = zip(self.average.shadow_params, self.tuning.parameters, strict=True) if self.average else ()
        if any(kept.shape != parameter.shape for kept, parameter in (*moments, *means)):
            raise ValueError("the state of the optimiser, or the average, is of other weights")

    def learn(
        self, objective: Objective[AnyExperience], experience: AnyExperience, generator: torch.Generator
    ) -> dict[str, float]:
        """Take all gradient steps on one step's experience; return the mean loss, gradient norm and noted figures.

        Of an experience without units nothing is learnt, and it has no figures.
        """
        if isinstance(objective, Following) and self.snapshot is None:
            self.snapshot = Snapshot(self.tuning.parameters)
        updates = [
            self.update(objective, experience.select(rows).draw(self.policy, generator))
            for rows in minibatches(len(experience), self.config, generator)
        ]
        if not updates:
            return {}
        loss, norm = (sum(column) / len(updates) for column in zip(*updates, strict=True))
        return {"loss": loss, "gradient_norm": norm, **self.noted()}

    def noted(self) -> dict[str, float]:
        """Return the mean of each figure noted in a step, over the units of all processes, and forget the figures."""
        joined = {name: torch.cat(values) for name, values in self.notes.items()}
        self.notes.clear()
        shares = self.processes.gather({name: (float(values.mean()), len(values)) for name, values in joined.items()})
        counts = {name: sum(share[name][1] for share in shares if name in share) for share in shares for name in share}
        return {
            name: sum(share[name][0] * share[name][1] for share in shares if name in share) / count
            for name, count in counts.items()
        }

    def update(self, objective: Objective[AnyExperience], batch: AnyExperience) -> tuple[float, float]:
        """Take one gradient step on a minibatch; return the loss and the norm of its gradient before clipping.

        Each process computes the losses of its share, a microbatch at a time, and the gradients are added up. Of fewer
        units than processes each computes all, and its gradient counts that much less.

        Raises:
            DragonError: the loss is not finite.
        """
        few = len(batch) < self.processes.size
        own = torch.tensor(range(len(batch)) if few else self.processes.share(range(len(batch))))
        shares = len(batch) * (self.processes.size if few else 1)
        loss = torch.zeros((), dtype=torch.float64, device=statistics_device(self.processes.device))
        self.optimiser.zero_grad(set_to_none=True)
        self.means, microbatches = 0, own.split(self.config.microbatch or len(batch))
        for rows in microbatches:
            part = objective.losses(self, batch.select(rows)).sum() / shares
            self.processes.accelerator.backward(part)
            loss += part.detach().to(loss.device)
        if not few:
            self.keep_up(len(microbatches), len(batch))
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

    def keep_up(self, microbatches: int, units: int) -> None:
        """Take part, with no units, in the means of microbatches that only other processes have, which wait for it."""
        largest_share = math.ceil(units / self.processes.size)
        missing = math.ceil(largest_share / (self.config.microbatch or units)) - microbatches
        for _ in range(missing * self.means // microbatches):
            self.mean(torch.zeros(0, device=self.processes.device))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the policy its averaged weights inside the block, if the run keeps an average."""
        if self.average is None:
            yield
            return
        self.average.store(self.tuning.parameters)
        self.average.copy_to(self.tuning.parameters)
        try:
            yield
        finally:
            self.average.restore(self.tuning.parameters)

    def autocast(self) -> AbstractContextManager[None]:
        """Let the policy compute in the precision of the run inside the block."""
        return self.processes.autocast()

    def reference(self) -> AbstractContextManager[None]:
        """Make the policy the untuned model inside the block; what has gradient has to be computed outside of it."""
        return self.tuning.reference()

    def previous(self) -> AbstractContextManager[None]:
        """Make the policy what it was at the last `follow`, at first untuned, inside the block."""
        if self.snapshot is None:
            self.snapshot = Snapshot(self.tuning.parameters)
        return self.snapshot.swapped()

    def follow(self, share: float) -> None:
        """Move the previous policy to what the policy is now; of what it was it keeps a `share`."""
        if self.snapshot is None:
            raise ValueError("there is no previous policy yet: call `previous` before the first gradient step")
        self.snapshot.follow(share)

    def denoising_error(self, latents: Tensor, prompts: Sequence[str], draw: Draw) -> Tensor:
        """Return the policy's denoising error for each clip, (clips,), with gradient."""
        condition = self.policy.condition(prompts)
        with self.autocast():
            return self.policy.denoising_error(latents, condition, draw)

    def denoised(self, latents: Tensor, prompts: Sequence[str], draw: Draw) -> Tensor:
        """Return what the policy makes of noised latents, (clips, ...): its estimate of the latents, with gradient."""
        condition = self.policy.condition(prompts)
        with self.autocast():
            return self.policy.denoised(latents, condition, draw)

    def implicit_reward(
        self, latents: Tensor, prompts: Sequence[str], draw: Draw, against: Against = "reference"
    ) -> Tensor:
        """Return how much better the policy denoises each clip than another does, (clips,), with gradient.

        It is an estimate proportional to log p_policy(x) / p_reference(x), from one draw of noise that serves both
        (arXiv 2311.12908, equation 13):

            r(x) = |reference error|^2 - |policy error|^2

        The other is the untuned model, or the previous policy.
        """
        condition = self.policy.condition(prompts)
        other = self.reference if against == "reference" else self.previous
        with torch.no_grad(), other(), self.autocast():
            reference = self.policy.denoising_error(latents, condition, draw)
        with self.autocast():
            return reference - self.policy.denoising_error(latents, condition, draw)

    def distance(self) -> Tensor:
        """Return the squared distance of the tuned weights from the untuned ones, a scalar, with gradient."""
        return self.tuning.distance()

    def gradient_norm(self, latents: Tensor, prompts: Sequence[str], draw: Draw) -> float:
        """Return the norm of the gradient of the denoising error in the last matrix of weights that learns.

        Of adapters it is the factor that starts at 0, whose gradient does not. In fp16 the norm is multiplied by the
        scale of the losses, without which small gradients would vanish.
        """
        error, scaler = self.denoising_error(latents, prompts, draw).sum(), self.processes.accelerator.scaler
        last = [parameter for parameter in self.tuning.parameters if parameter.ndim > 1][-1]
        (gradient,) = torch.autograd.grad(scaler.scale(error) if scaler else error, last)
        return float(gradient.norm())

    def note(self, name: str, values: Tensor) -> None:
        """Record a figure of each unit, (units,); the mean over a step goes into its row."""
        self.notes[name].append(values.detach())

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the units that all processes have in memory now, without gradient."""
        self.means += 1
        if self.processes.size == 1:
            return values.detach().mean()
        count = torch.tensor(float(len(values)), device=values.device)
        return self.processes.total(values.sum()) / self.processes.total(count)


def minibatches(units: int, config: TrainConfig, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of the units in random order, in equal parts of at most `minibatch`, `epochs` times over."""
    for _ in range(config.epochs if units else 0):
        order = torch.randperm(units, generator=generator)
        yield from order.tensor_split(math.ceil(units / config.minibatch))


class Snapshot:
    """The tuned weights as they were at an earlier time, or a moving average of what they were.

    Attributes:
        parameters: the weights that learn.
        kept: a copy of each, as it was.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = parameters
        self.kept = [parameter.detach().clone() for parameter in parameters]

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Put the kept weights in place of those that learn inside the block.

        Autograd does not see it: a graph that is built outside of the block must not be differentiated inside.
        """
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for place, parameter in enumerate(self.parameters):
            parameter.data, self.kept[place] = self.kept[place], parameter.data

    @torch.no_grad()
    def follow(self, share: float) -> None:
        """Keep `share` of what was kept, and take the rest from the weights as they are."""
        for kept, parameter in zip(self.kept, self.parameters, strict=True):
            kept.lerp_(parameter, 1 - share)

    def load(self, kept: Sequence[Tensor]) -> None:
        """Restore kept weights.

        Raises:
            ValueError: they are of other weights.
        """
        if [each.shape for each in kept] != [each.shape for each in self.kept]:
            raise ValueError("the previous policy is of other weights")
        for own, other in zip(self.kept, kept, strict=True):
            own.copy_(other)


class AllWeights:
    """Tuning of every weight of the denoiser; the reference is a frozen copy of it."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.tuned = policy, policy.denoiser
        self.frozen = deepcopy(self.tuned).requires_grad_(False)
        self.parameters = [p for p in self.tuned.parameters() if p.requires_grad]

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Put the frozen copy in place of the denoiser inside the block."""
        self.policy.denoiser = self.frozen
        try:
            yield
        finally:
            self.policy.denoiser = self.tuned

    def distance(self) -> Tensor:
        """Return the squared distance of the weights from the frozen copy's, a scalar, with gradient."""
        own = (tuned for tuned in self.tuned.parameters() if tuned.requires_grad)
        there = dict(self.frozen.named_parameters())
        before = (there[name] for name, tuned in self.tuned.named_parameters() if tuned.requires_grad)
        return torch.stack([(a - b).square().sum() for a, b in zip(own, before, strict=True)]).sum()

    def weights(self) -> dict[str, Tensor]:
        """Return all weights and buffers of the denoiser."""
        return dict(self.tuned.state_dict())

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Restore all weights and buffers of the denoiser."""
        self.tuned.load_state_dict(weights)


class Lora:
    """Tuning of low-rank adapters (arXiv 2106.09685) in float32; the reference is the policy with its adapters off.

    Adapters that begin with tuned weights have a reference that keeps these.

    Attributes:
        begun: the weights that the adapters began with, where they were tuned; None where B began with 0.
    """

    def __init__(self, policy: Policy, config: LoraConfig) -> None:
        self.config, self.policy = config, policy
        self.begun: Snapshot | None = None
        policy.denoiser.requires_grad_(False)
        self.denoiser = inject_adapter_in_model(config, policy.denoiser)
        self.parameters = [p for p in self.denoiser.parameters() if p.requires_grad]
        for parameter in self.parameters:
            parameter.data = parameter.data.float()

    def begin(self, weights: Mapping[str, Tensor]) -> None:
        """Begin with the weights of tuned adapters of the same layers, which the reference keeps."""
        self.load(weights)
        self.begun = Snapshot(self.parameters)

    def reference(self) -> AbstractContextManager[None]:
        """Make the policy what it began as inside the block."""
        return self.begun.swapped() if self.begun else self.switched_off()

    @contextmanager
    def switched_off(self) -> Iterator[None]:
        """Switch the adapters off inside the block."""
        layers = [m for m in self.denoiser.modules() if isinstance(m, BaseTunerLayer)]
        for layer in layers:
            layer.enable_adapters(enabled=False)
        try:
            yield
        finally:
            for layer in layers:
                layer.enable_adapters(enabled=True)

    def distance(self) -> Tensor:
        """Return the sum of |D|^2 over the updates D of all adapters, a scalar, with gradient."""
        return torch.stack([gram.trace() for gram in adapter_grams(self)]).sum()

    def updates(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield two factors, (r, in) and (out, r), of each adapter's update: what it adds to the reference's layer.

        They are A and B. Of adapters that began with A' and B' the update is B A - B' A' = (B - B') A + B' (A - A'),
        whose factors have rank 2 r; in this form small updates keep their digits. A convolution's kernels are rows. The
        scale of the adapters is 1.
        """
        begun = dict(zip(map(id, self.parameters), self.begun.kept, strict=True)) if self.begun else {}
        for layer in self.denoiser.modules():
            for name, part in layer.lora_A.items() if isinstance(layer, LoraLayer) else ():
                factors = part.get_parameter("weight"), layer.lora_B[name].get_parameter("weight")
                a, b = (each.flatten(1) for each in factors)
                if begun:
                    a0, b0 = (begun[id(each)].flatten(1) for each in factors)
                    a, b = torch.cat([a, a - a0]), torch.cat([b - b0, b0], 1)
                yield a, b

    def weights(self) -> dict[str, Tensor]:
        """Return the weights of the adapters, without the weights that they adapt."""
        return dict(get_peft_model_state_dict(self.denoiser))

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Restore the weights of the adapters that `weights` returned."""
        set_peft_model_state_dict(self.denoiser, dict(weights))


def adapter_grams(tuning: Lora) -> Iterator[Tensor]:
    """Yield B^T B A A^T of each adapter's update BA, which has its squared singular values as eigenvalues."""
    for a, b in tuning.updates():
        yield (b.mT @ b) @ (a @ a.mT)


def make_tuning(policy: Policy, config: TrainConfig, start: Mapping[str, Tensor] | None = None) -> AllWeights | Lora:
    """Make the weights learn that the configuration names: adapters of some layers, or the whole denoiser.

    Args:
        policy: the pipeline that is tuned.
        config: the configuration of the run.
        start: tuned weights that the adapters begin with; None for adapters that change nothing yet.

    Raises:
        ConfigError: no layer of the denoiser has a name that `lora_targets` gives, or `start` is of other layers.
    """
    if config.tuning == "all":
        return AllWeights(policy)
    targets = list(config.lora_targets or policy.lora_targets)
    try:
        lora = Lora(policy, LoraConfig(r=config.lora_rank, lora_alpha=config.lora_rank, target_modules=targets))
    except ValueError as error:
        raise ConfigError(f"lora_targets = {targets}: {error}") from error
    if start is not None:
        check_begun(start, lora, config)
        lora.begin(start)
    return lora


def check_begun(start: Mapping[str, Tensor], lora: Lora, config: TrainConfig) -> None:
    """Refuse adapters to begin with that are of other layers than the run's.

    Raises:
        ConfigError: they are.
    """
    name = differing(start, lora.weights())
    if name is not None:
        raise ConfigError(
            f"start_from = '{config.start_from}': its adapter has other layers than the run's, such as {name}; give "
            "the --lora-targets and the --pipeline that it was tuned with"
        )


def check_layers(weights: Mapping[str, Tensor], tuning: AllWeights | Lora) -> None:
    """Refuse weights that have other names or shapes than the weights that are tuned.

    Raises:
        ConfigError: they are of other layers, or have other shapes.
    """
    check_shapes(weights, tuning.weights())


def check_shapes(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Refuse tensors that have other names or shapes than the wanted ones.

    Raises:
        ConfigError: a name or a shape differs.
    """
    name = differing(found, wanted)
    if name is not None:
        raise ConfigError(
            f"these weights were tuned on another pipeline; name that with --pipeline (they differ in {name})"
        )


def differing(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """Return the first name by which tensors have not the names and shapes of others; None if they have."""
    shapes = [{(name, tuple(value.shape)) for name, value in tensors.items()} for tensors in (found, wanted)]
    return min((name for name, _ in shapes[0] ^ shapes[1]), default=None)
