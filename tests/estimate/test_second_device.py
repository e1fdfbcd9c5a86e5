"""On a device that is not the CPU: loading goes straight there, and its own allocator says what a step takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from dragon_rewards import load_registry
from dragon_train.config import TrainConfig
from dragon_train.descriptors import Loading
from dragon_train.embedded.prompts import prompts
from dragon_train.estimate.estimate import capacity, estimate
from dragon_train.estimate.measure import measure
from dragon_train.objectives.configured import completed
from dragon_train.registry import load_train_registry

CONFIG = TrainConfig("vendi:clap", prompts_per_step=4, demonstration_steps=2, epochs=1, sampling_batch=4)
SETTINGS = {"plain": CONFIG, "sparing": replace(CONFIG, gradient_checkpointing=True, microbatch=1)}


def test_networks_are_loaded_onto_it_once_and_in_the_precision_asked_for(second: torch.device) -> None:
    module: Any = torch.get_device_module(second)
    load_train_registry().pipeline("embedded").factory(Loading(torch.bfloat16))  # imports
    before = module.memory_allocated(second)
    module.reset_peak_memory_stats(second)
    policy = load_train_registry().pipeline("embedded").factory(Loading(torch.bfloat16, second))
    peak = module.max_memory_allocated(second) - before
    networks = [part for part in policy.pipeline.components.values() if isinstance(part, nn.Module)]
    held = [tensor for part in networks for tensor in (*part.parameters(), *part.buffers())]
    assert {tensor.device for tensor in held} == {second}
    assert sum(tensor.nbytes for tensor in held) <= peak < 1.2 * sum(tensor.nbytes for tensor in held)


@pytest.mark.parametrize("name", SETTINGS)
def test_memory_of_a_step_is_within_15_percent_of_what_its_allocator_gave(name: str, second: torch.device) -> None:
    load_registry()._built.clear()  # or an earlier test's encoder would be there before anything is loaded
    config = SETTINGS[name]
    info = load_train_registry().pipeline("embedded")
    found = estimate(info, completed(config), None, cuda=False)
    step = measure(config, prompts("train"), second)
    assert found.peak == pytest.approx(step.peak - step.base, rel=0.15)
    for phase in ("sampling", "decoding", "learning"):
        assert found.memory[phase] == pytest.approx(step.peaks[phase] - step.base, rel=0.15), phase


def test_its_memory_is_known(second: torch.device) -> None:
    assert capacity(second) == torch.get_device_module(second).mem_get_info(second)[1]
