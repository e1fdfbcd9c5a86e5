"""Diagnostics of the denoiser: dormant units by the definition, ranks of updates whose rank is known, and resuming."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig
from support.results import result
from support.tiny import CONFIG, tiny_policy, tiny_run
from torch import nn

from dragon_train.loop.diagnostics import (
    Diagnostics,
    dormant_share,
    linear_layers,
    participation_ratio,
    start,
    update_rank,
)
from dragon_train.loop.learner import AllWeights, Lora, PolicyLearner
from dragon_train.loop.loop import resolved
from dragon_train.loop.processes import Processes
from dragon_train.loop.run_folder import METRICS

if TYPE_CHECKING:
    from pathlib import Path

    from dragon_train.config import Tuning
    from dragon_train.protocols import Policy

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
RANK, TEXTS = 3, [f"a jig, number {number}" for number in range(6)]
LOOKED_AT = replace(CONFIG, steps=3, diagnostics=True)


def diagnostics(tuning: Tuning, policy: Policy | None = None) -> Diagnostics:
    """Those of a tiny policy before the first step."""
    own = policy or tiny_policy()
    config = resolved(replace(LOOKED_AT, tuning=tuning, lora_rank=RANK), own)
    torch.manual_seed(0)
    return start(PolicyLearner(own, config, Processes("no", device=torch.device("cpu"))), TEXTS)


def last(denoiser: nn.Module) -> nn.Linear:
    """The linear layer that no other one comes after."""
    layer = linear_layers(denoiser)[-1]
    assert isinstance(layer, nn.Linear)
    return layer


def dormant(found: Diagnostics) -> int:
    """The number of dormant units."""
    outputs = list(found.outputs())
    share = dormant_share(outputs)
    assert share is not None
    return round(share * sum(map(len, outputs)))


def test_a_zeroed_row_is_a_dormant_unit_and_a_scaled_layer_has_none() -> None:
    found = diagnostics("all")
    before, layer = dormant(found), last(found.learner.policy.denoiser)
    with torch.no_grad():
        layer.weight.mul_(1e-6)
        if layer.bias is not None:
            layer.bias.mul_(1e-6)
        assert dormant(found) == before
        layer.weight[1] = 0
        if layer.bias is not None:
            layer.bias[1] = 0
    assert dormant(found) == before + 1


def test_outputs_are_sums_over_clips_draws_and_positions_whatever_the_batch(policy: Policy) -> None:
    """Of the embedded pipeline, whose last linear layer is applied to each position of a clip."""
    found, kept, layer = diagnostics("all", policy), [], last(policy.denoiser)
    handle = layer.register_forward_hook(lambda _, __, output: kept.append(output.detach()))
    outputs = list(found.outputs())
    handle.remove()
    assert (
        len(outputs)
        == len(linear_layers(policy.denoiser))
        == sum(isinstance(module, nn.Linear) for module in policy.denoiser.modules())
    )
    wanted = torch.cat(kept).double().abs().flatten(0, -2)
    assert torch.allclose(outputs[-1].double(), wanted.sum(0), rtol=1e-4)
    policy.batch = 3
    for one, other in zip(outputs, found.outputs(), strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(one.max()))


SIZES = st.just(0.0) | st.floats(1e-3, 1e3)  # smaller ones could be 0 once they are scaled


@given(st.lists(st.lists(SIZES, min_size=1, max_size=9), min_size=1, max_size=4), st.floats(1e-3, 1e3))
def test_the_share_is_of_units_below_a_fortieth_of_their_layers_mean(sizes: list[list[float]], scale: float) -> None:
    layers = [torch.tensor(units, dtype=torch.float64) for units in sizes]
    counted = [units for units in layers if units.sum() > 0]
    below = [value / units.mean() < 1 / 40 for units in counted for value in units]
    found = dormant_share(layers)
    assert (found is None) == (not below)
    if found is not None:
        assert found == pytest.approx(sum(map(bool, below)) / len(below))
        assert dormant_share([units * scale for units in layers]) == pytest.approx(found, abs=1 / len(below))


def test_an_adapted_layer_is_one_layer_and_heard_with_its_adapter() -> None:
    """Its base is silent here, and its adapter is not."""
    found = diagnostics("lora")
    denoiser = found.learner.policy.denoiser
    assert len(linear_layers(denoiser)) == len(linear_layers(tiny_policy().denoiser))
    adapted = [layer for layer in linear_layers(denoiser) if hasattr(layer, "lora_A")]
    before = dormant(found)
    with torch.no_grad():
        adapted[-1].get_base_layer().weight[0] = 0  # type: ignore[operator]
        if (bias := adapted[-1].get_base_layer().bias) is not None:  # type: ignore[operator]
            bias[0] = 0
        silent = dormant(found)
        adapted[-1].lora_B["default"].weight[0] = 1.0  # type: ignore[index, union-attr]
    assert silent > before
    assert dormant(found) < silent


def test_the_batch_is_the_untuned_models_whatever_was_learnt_and_it_is_the_same_again() -> None:
    first = diagnostics("lora")
    learner = first.learner
    with torch.no_grad():
        for parameter in learner.tuning.parameters:
            parameter.add_(0.1)
    again = start(learner, TEXTS)
    assert torch.equal(first.latents, again.latents)
    assert all(
        torch.equal(a.noise, b.noise) and torch.equal(a.level, b.level)
        for a, b in zip(first.draws, again.draws, strict=True)
    )
    assert not torch.equal(first.draws[0].level, first.draws[1].level)
    assert first.prompts == again.prompts


def test_a_compiled_denoiser_is_heard_too() -> None:
    plain = diagnostics("lora")
    compiled = diagnostics("lora")
    denoiser = compiled.learner.policy.denoiser
    denoiser.compile(backend="eager")
    compiled.learner.denoising_error(compiled.latents, list(compiled.prompts), compiled.draws[0])
    assert compiled.row() == plain.row()


@given(st.integers(1, 6), st.integers(0, 99), st.floats(1e-12, 1e6))
def test_the_participation_ratio_is_of_the_singular_values(rank: int, seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    up, down = (torch.randn(shape, generator=generator) for shape in ((9, rank), (rank, 7)))
    gram = (scale * up.mT @ up) @ (down @ down.mT)
    sizes = torch.linalg.svdvals((up @ down).double())
    wanted = sizes.square().sum() ** 2 / sizes.pow(4).sum()
    assert participation_ratio(gram) == pytest.approx(float(wanted), rel=1e-4)


def adapters() -> Lora:
    policy = tiny_policy()
    return Lora(policy, LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(policy.lora_targets)))


def pairs(tuning: Lora) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """A and B of each adapter."""
    found = dict(tuning.denoiser.named_parameters())
    names = [name for name in found if ".lora_A." in name]
    return [(found[name], found[name.replace(".lora_A.", ".lora_B.")]) for name in names]


def test_adapters_that_have_not_learnt_have_no_rank() -> None:
    assert update_rank(adapters()) is None
    assert "update_rank" not in diagnostics("lora").row()
    assert "update_rank" not in diagnostics("all").row()


def test_the_rank_of_adapters_of_known_rank() -> None:
    tuning = adapters()
    with torch.no_grad():
        for _, up in pairs(tuning):
            up[:, 0] = 1e-8
        assert update_rank(tuning) == pytest.approx(1, rel=1e-4)
        for down, up in pairs(tuning):
            down.copy_(torch.eye(*down.shape))
            up.copy_(5 * torch.eye(*up.shape))
        assert update_rank(tuning) == pytest.approx(RANK, rel=1e-4)
        for _, up in pairs(tuning)[1:]:
            up.zero_()
        assert update_rank(tuning) == pytest.approx(RANK, rel=1e-4)


def test_the_rank_of_all_weights_is_of_their_difference_from_the_frozen_copy() -> None:
    tuning = AllWeights(tiny_policy())
    layers = [module for module in tuning.tuned.modules() if isinstance(module, nn.Linear)]
    assert update_rank(tuning) is None
    with torch.no_grad():
        for layer in layers[:2]:
            layer.weight += 1e-2 * torch.ones(layer.weight.shape)
        assert update_rank(tuning) == pytest.approx(1, rel=1e-3)
        layers[2].weight += torch.eye(*layers[2].weight.shape)
        least = min(layers[2].weight.shape)
        assert update_rank(tuning) == pytest.approx((1 + 1 + least) / 3, rel=1e-3)


def figures(out: Path) -> pd.DataFrame:
    """Of every step, without the seconds."""
    return pd.read_csv(out / METRICS).filter(regex="^(?!.*_s$)")


class KilledError(Exception):
    """Stands for a kill between two steps."""


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_a_resumed_run_has_the_same_figures_and_they_change_nothing_else(tmp_path: Path, tuning: Tuning) -> None:
    config = replace(LOOKED_AT, tuning=tuning)

    def stop(row: dict[str, float]) -> None:
        if row["step"] == 2:
            raise KilledError

    tiny_run(config, tmp_path / "whole")
    with pytest.raises(KilledError):
        tiny_run(config, tmp_path / "halved", on_step=stop)
    tiny_run(config, tmp_path / "halved")
    tiny_run(replace(config, diagnostics=False), tmp_path / "without")
    whole, halved, without = (figures(tmp_path / name) for name in ("whole", "halved", "without"))
    assert whole.equals(halved)
    assert whole["update_rank"].ge(1).all()
    assert whole["dormant"].between(0, 1).all()
    assert whole.drop(columns=["dormant", "update_rank"]).equals(without)
    one, other = result(tmp_path / "whole"), result(tmp_path / "without")
    assert all(torch.equal(one[name], other[name]) for name in one)
