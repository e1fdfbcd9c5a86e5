"""Diagnose the denoiser while it learns: how many of its units are dormant, and how many directions its update has.

`loop.loop` calls `start` before the first step and `Diagnostics.row` after each, in runs with `diagnostics = true`.
They are figures to look at: nothing is done about them.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from dragon_train.loop.learner import Lora, adapter_grams
from dragon_train.loop.rollout import Stream, prompts_of, seeds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from dragon_train.loop.learner import AllWeights, PolicyLearner
    from dragon_train.protocols import Draw

    Sums = dict[nn.Module, Tensor]

TAU = 0.025  # as in DrM
CLIPS, DRAWS = 8, 4  # of the fixed batch, and of noise for each of its clips


@dataclass(frozen=True)
class Diagnostics:
    """A fixed batch of noised clips, on which the units of the denoiser are looked at after every step.

    Attributes:
        learner: whose denoiser it is.
        latents: what the untuned model makes of the first prompts of the first step from their seeds, (clips, ...).
        prompts: one text per clip.
        draws: noise and a level for each clip, from the distribution of training; the same in every step.
    """

    learner: PolicyLearner
    latents: Tensor
    prompts: Sequence[str]
    draws: Sequence[Draw]

    def row(self) -> dict[str, float]:
        """Return the figures `dormant` and `update_rank`; one that cannot be told, as the rank of no update, is absent.

        Every process computes both by itself, and alike.
        """
        figures = {"dormant": dormant_share(self.outputs()), "update_rank": update_rank(self.learner.tuning)}
        return {name: value for name, value in figures.items() if value is not None}

    @torch.no_grad()
    def outputs(self) -> Iterable[Tensor]:
        """Return for each linear layer the sum of |output| of each unit over all clips, draws and positions, (units,).

        Layers that the denoiser did not call have none.
        """
        with watched(self.learner.policy.denoiser) as sums:
            for draw in self.draws:
                for rows in torch.arange(len(self.prompts)).split(self.learner.policy.batch):
                    texts = [self.prompts[row] for row in rows.tolist()]
                    self.learner.denoising_error(self.latents[rows], texts, draw.select(rows))
        return sums.values()


def start(learner: PolicyLearner, prompts: Sequence[str]) -> Diagnostics:
    """Make the fixed batch: a function of the seed, so that a resumed run has the same, as has every process.

    Args:
        learner: of the run; its reference samples the clips.
        prompts: that the run is tuned on.
    """
    policy, config = learner.policy, learner.config
    texts = prompts_of(prompts, config, 0)[:CLIPS]
    numbers = seeds(Stream.GENERATIONS, config.seed, count=config.prompts_per_step)[: len(texts)]
    with torch.no_grad(), learner.reference(), learner.processes.autocast():
        latents = policy.sample(texts, numbers, config.demonstration_steps, config.guidance)
    generator = torch.Generator().manual_seed(*seeds(Stream.DIAGNOSTICS, config.seed))
    return Diagnostics(learner, latents, texts, [policy.draw(latents, generator) for _ in range(DRAWS)])


@contextmanager
def watched(denoiser: nn.Module) -> Iterator[Sums]:
    """Sum |output| of the units of each linear layer inside the block.

    A compiled denoiser runs as it was written meanwhile, as hooks that come after compilation are not called.
    """
    sums: Sums = defaultdict(lambda: torch.zeros(()))

    def add(layer: nn.Module, _: Any, output: Tensor) -> None:
        found = output.detach().abs().reshape(-1, output.shape[-1]).sum(0, dtype=torch.float32)
        sums[layer] = sums[layer].to(found.device) + found

    with ExitStack() as stack:
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        for layer in linear_layers(denoiser):
            stack.enter_context(layer.register_forward_hook(add))
        yield sums


def linear_layers(denoiser: nn.Module) -> list[nn.Module]:
    """Return the linear layers of a denoiser; one with an adapter is a single layer, whose output has the adapter's."""
    adapted = [module for module in denoiser.modules() if isinstance(module, BaseTunerLayer)]
    within = {part for layer in adapted for part in layer.modules() if part is not layer}  # base, A and B
    return [module for module in denoiser.modules() if module not in within and isinstance(base_of(module), nn.Linear)]


def base_of(layer: nn.Module) -> nn.Module:
    """Return the layer that an adapter adapts, or a layer without an adapter itself."""
    return layer.get_base_layer() if isinstance(layer, BaseTunerLayer) else layer


def dormant_share(sums: Iterable[Tensor]) -> float | None:
    """Return the share of dormant units among all layers (DrM, arXiv 2310.19668).

    With h the output of a layer and the means over clips, noise and positions, unit i of it is dormant where

        mean |h_i| < 0.025 mean_j mean |h_j|,

    so that the scale of a layer does not matter. A layer whose outputs are all 0 has no scale and is not counted.

    Args:
        sums: per layer the sum of |h| of each unit, (units,); that it is no mean changes nothing.

    Returns:
        The share, or None where no layer is counted.
    """
    counted = [units for units in sums if float(units.mean()) > 0]
    dormant = sum(int((units < TAU * units.mean()).sum()) for units in counted)
    return dormant / sum(map(len, counted)) if counted else None


@torch.no_grad()
def update_rank(tuning: AllWeights | Lora) -> float | None:
    """Return the mean participation ratio of the updates of all layers, between 1 and the rank of an adapter.

    The update of an adapted layer is BA, less what the reference has of it; where all weights learn, a linear layer's
    is its difference from the frozen copy. Layers without an update have no rank.

    Returns:
        The mean, or None where nothing has an update.
    """
    grams = adapter_grams(tuning) if isinstance(tuning, Lora) else difference_grams(tuning)
    ranks = [participation_ratio(gram) for gram in grams if float(gram.trace()) > 0]
    return sum(ranks) / len(ranks) if ranks else None


def participation_ratio(gram: Tensor) -> float:
    """Return the number of directions that an update amounts to: n for n equal singular values, 1 for one alone.

        (sum s^2)^2 / sum s^4 = tr(G)^2 / tr(G^2)

    Args:
        gram: G, square, with the squares of the singular values s as its eigenvalues other than 0; need not be
            symmetric.
    """
    unit = gram / gram.trace()  # first, as fourth powers of small updates are 0 in float32
    return float(1 / (unit * unit.mT).sum())


def difference_grams(tuning: AllWeights) -> Iterator[Tensor]:
    """Yield D D^T, on the smaller side, of each linear layer's difference D from the frozen copy."""
    for tuned, frozen in zip(tuning.tuned.modules(), tuning.frozen.modules(), strict=True):
        if isinstance(tuned, nn.Linear) and isinstance(frozen, nn.Linear):
            difference = (tuned.weight - frozen.weight).float()
            difference = difference / difference.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
            wide = difference if difference.shape[0] <= difference.shape[1] else difference.mT
            yield wide @ wide.mT
