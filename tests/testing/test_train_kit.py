"""The kit of the trainer passes on the built-in objectives and adapters, and fails for what breaks their promises."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.pipelines import BUILDERS

from dragon_train.objectives.raft import RAFT, raft
from dragon_train.pipelines.stable_audio import StableAudioPolicy
from dragon_train.registry import load_train_registry
from dragon_train.testing import Check, checks, conformance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")

test_the_built_in_parts_pass = pytest.mark.slow(conformance("dragon-rewards", BUILDERS))


def found(family: str, name: str, factory: Callable[..., Any], pipelines: Mapping[str, Any] = BUILDERS) -> list[Check]:
    """The checks of a built-in part whose factory is another one."""
    registry = load_train_registry()
    parts = getattr(registry, f"{family}s")
    other: dict[str, Any] = {f"{family}s": {**parts, name: replace(parts[name], factory=factory)}}
    changed = replace(registry, **other)
    return [check for check in checks("dragon-rewards", pipelines, changed) if check.part == f"{family} {name}"]


def failures(family: str, name: str, factory: Callable[..., Any]) -> dict[str, str]:
    """The names and messages of the checks that fail."""
    said = {}
    for check in found(family, name, factory):
        try:
            check.run()
        except AssertionError as failure:
            said[check.name] = str(failure)
    return said


@pytest.mark.parametrize("part", ["objective kto", "adapter stable-audio"])
def test_a_built_in_part_passes(part: str) -> None:
    own = [check for check in checks("dragon-rewards", BUILDERS) if check.part == part]
    assert len(own) > 5
    for check in own:
        check.run()


class Averaging(RAFT):
    """Returns one loss for all units."""

    def losses(self, learner: Any, experience: Any) -> torch.Tensor:
        return super().losses(learner, experience).mean()


class Chancing(RAFT):
    """Draws from torch's own generator."""

    def losses(self, learner: Any, experience: Any) -> torch.Tensor:
        return super().losses(learner, experience) * torch.rand(())


class Ignoring(RAFT):
    """Learns nothing of the policy."""

    def losses(self, learner: Any, experience: Any) -> torch.Tensor:  # noqa: ARG002
        return torch.ones(len(experience), requires_grad=True)


@pytest.mark.slow
def test_objectives_that_break_their_promises_fail() -> None:
    assert failures("objective", "raft", raft) == {}
    assert "a floating point loss for each unit, (4,)" in failures("objective", "raft", lambda _: Averaging())["losses"]
    assert list(failures("objective", "raft", lambda _: Chancing())) == ["deterministic"]
    assert {"gradients", "learns"} == set(failures("objective", "raft", lambda _: Ignoring()))


class Shared(StableAudioPolicy):
    """Seeds every clip of a batch alike."""

    def call_arguments(self, prompts: Any, seeds: Any, *rest: Any) -> dict[str, Any]:
        return super().call_arguments(prompts, [seeds[0]] * len(seeds), *rest)


class Detached(StableAudioPolicy):
    """Decodes without gradient, whatever the latents have."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return super().decode(latents.detach())


class Forgetful(StableAudioPolicy):
    """Tells the denoiser of one prompt only."""

    lora_targets = ("to_q", "to_nowhere")

    def condition(self, prompts: Any) -> Any:
        return super().condition(["music"] * len(prompts))


def test_adapters_that_break_their_promises_fail() -> None:
    assert list(failures("adapter", "stable-audio", Shared)) == ["own prompt and seed"]
    assert list(failures("adapter", "stable-audio", Detached)) == ["decodes"]
    said = failures("adapter", "stable-audio", Forgetful)
    assert set(said) == {"adapts", "prompts matter"}
    assert "to_nowhere" in said["adapts"]


def test_an_adapter_without_a_small_pipeline_is_told_how_to_give_one() -> None:
    first = found("adapter", "stable-audio", StableAudioPolicy, {})[0]
    with pytest.raises(AssertionError, match=r'conformance\(\.\.\., pipelines=\{"stable-audio": f\}\)'):
        first.run()


def test_a_package_that_brings_neither_fails() -> None:
    [check] = checks("pluggy")
    with pytest.raises(AssertionError, match="registers nothing: name its module in entry-point group dragon_train"):
        check.run()
