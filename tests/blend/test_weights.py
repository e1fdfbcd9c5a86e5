"""Blends of weights: at both ends they are the two models bit for bit, and saved they are what they were."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, get_args

import pytest
import torch
from peft import PeftModel
from support.pipelines import BUILDERS, load

from dragon_rewards.compute.devices import CPU
from dragon_train.blend.parts import parts_of
from dragon_train.blend.save import write_blend
from dragon_train.blend.weights import RAISED, Blending, blended, load_blending
from dragon_train.config import Tuning
from dragon_train.loop.run_folder import ADAPTER, CONFIG, check_result, kept_prompts, stored_config, stored_run
from dragon_train.loop.tuning import load_tuned
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from blend.conftest import Tune
    from dragon_train.protocols import Policy

PROMPTS = ["a slow hymn on the organ", "a jig"]


def sampled(policy: Policy) -> Tensor:
    return policy.sample(PROMPTS, [1, 2], 2, 1.0)


def blending_of(run: Path, parts: int) -> Blending:
    return load_blending(load_train_registry().pipeline(stored_config(run).pipeline), run, parts, CPU)


@pytest.mark.parametrize("name", BUILDERS)
def test_both_ends_of_adapters_make_what_the_models_make_bit_for_bit(name: str, tune: Tune, saved: Path) -> None:
    run, untuned, tuned = tune(name, "lora"), load(name, saved), load(name, saved)
    load_tuned(tuned, run)
    blending = blending_of(run, 1)
    blending.become((0.0,))
    assert torch.equal(sampled(blending.policy), sampled(untuned))
    with blending.tuning.reference():
        assert torch.equal(sampled(blending.policy), sampled(untuned))
    blending.become((1.0,))
    assert torch.equal(sampled(blending.policy), sampled(tuned))
    assert not torch.equal(sampled(tuned), sampled(untuned))


@pytest.mark.parametrize("name", ["ace-step", "audioldm"])
def test_both_ends_of_a_denoiser_have_the_weights_of_the_models_bit_for_bit(name: str, tune: Tune, saved: Path) -> None:
    """What they make is equal to 1e-5: where weights lie in memory, as after a copy, decides how sums round."""
    run, blending = tune(name, "all"), blending_of(tune(name, "all"), 1)
    tuned = load(name, saved)
    load_tuned(tuned, run)
    for share, model in ((0.0, load(name, saved)), (1.0, tuned)):
        blending.become((share,))
        found, wanted = blending.policy.denoiser.state_dict(), model.denoiser.state_dict()
        assert [key for key, value in found.items() if not torch.equal(value, wanted[key])] == []
        torch.testing.assert_close(sampled(blending.policy), sampled(model), rtol=0, atol=1e-5)


@pytest.mark.parametrize("tuning", get_args(Tuning))
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_equal_shares_are_the_uniform_blend(share: float, tuning: Tuning, tune: Tune) -> None:
    blending = blending_of(tune("audioldm", tuning), 3)
    whole = blending_of(tune("audioldm", tuning), 1)
    found, wanted = blending.weights((share,) * 3), whole.weights((share,))
    assert [name for name, value in found.items() if not torch.equal(value, wanted[name])] == []


def test_a_share_scales_the_change_of_each_layer_of_its_part_alone(tune: Tune) -> None:
    """B is scaled, and A is not: the change B A is the share's, to 1e-6 of a weight."""
    blending, shares = blending_of(tune("audioldm", "lora"), 3), (0.2, 0.6, 1.0)
    mixed = blending.weights(shares)
    for name, part in blending.parts.items():
        wanted = blending.tuned[name] * (shares[part] if RAISED in name else 1)
        assert torch.allclose(mixed[name], wanted, rtol=1e-6, atol=1e-9)
    assert len({blending.parts[name] for name in mixed if RAISED in name}) == len(shares)


def test_weights_of_a_whole_denoiser_lie_between(tune: Tune) -> None:
    blending, shares = blending_of(tune("ace-step", "all"), 2), (0.25, 0.75)
    mixed = blending.weights(shares)
    for name, part in blending.parts.items():
        untuned, tuned = blending.untuned[name].double(), blending.tuned[name].double()
        assert torch.allclose(mixed[name].double(), untuned + shares[part] * (tuned - untuned), rtol=1e-6, atol=1e-8)


def test_counters_are_not_blended() -> None:
    assert torch.equal(blended(torch.tensor(3), torch.tensor(5), 0.5), torch.tensor(3))


@pytest.mark.parametrize("name", [name for name in BUILDERS if not name.startswith(("stable-audio", "masked-audio"))])
def test_a_saved_adapter_is_the_blend_in_peft_and_here(name: str, tune: Tune, saved: Path, tmp_path: Path) -> None:
    run, shares = tune(name, "lora"), (0.8, 0.2)
    write_blend(run, shares, tmp_path / "blend", CPU)
    blending = blending_of(run, 2)
    blending.become(shares)
    wanted, here, peft = sampled(blending.policy), load(name, saved), load(name, saved)
    load_tuned(here, tmp_path / "blend")
    assert torch.equal(sampled(here), wanted)
    peft.denoiser = PeftModel.from_pretrained(peft.denoiser, tmp_path / "blend").base_model.model
    assert torch.equal(sampled(peft), wanted)


def test_a_saved_denoiser_is_the_blend(tune: Tune, saved: Path, tmp_path: Path) -> None:
    run = tune("ace-step", "all")
    write_blend(run, (0.4,), tmp_path / "blend", CPU)
    blending, fresh = blending_of(run, 1), load("ace-step", saved)
    blending.become((0.4,))
    load_tuned(fresh, tmp_path / "blend")
    assert torch.equal(sampled(fresh), sampled(blending.policy))


def test_a_saved_blend_is_a_run_that_says_what_it_is_of(tune: Tune, tmp_path: Path) -> None:
    run = tune("ace-step", "lora")
    write_blend(run, (0.5, 1.0), tmp_path / "blend", CPU)
    check_result(tmp_path / "blend")
    config, provenance = stored_run(tmp_path / "blend")
    assert config == stored_config(run)
    assert kept_prompts(tmp_path / "blend") == kept_prompts(run)
    assert provenance["plugins"]
    said = json.loads((tmp_path / "blend" / CONFIG).read_text())["provenance"]["blend"]
    assert (said["run"], said["shares"]) == (str(run), [0.5, 1.0])
    assert (tmp_path / "blend" / ADAPTER).is_file()


def test_a_whole_change_saves_the_adapter_as_it_was(tune: Tune, tmp_path: Path) -> None:
    run = tune("ace-step", "lora")
    write_blend(run, (1.0,), tmp_path / "blend", CPU)
    assert (tmp_path / "blend" / ADAPTER).read_bytes() == (run / ADAPTER).read_bytes()


def test_parts_of_a_loaded_run_are_of_its_own_layers(tune: Tune) -> None:
    blending = blending_of(tune("ace-step", "lora"), 2)
    assert blending.parts == parts_of(blending.policy.denoiser, blending.tuning.weights(), 2)
