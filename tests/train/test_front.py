"""The rule front of dpo and kto: the winner of a pair is nowhere worse in the parts of a mixture, and better in one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from support.coordinates import Along, clips_of
from support.tiny import CONFIG as TINY
from support.tiny import PROMPTS, tiny_policy, whole_and_resumed
from torch.nn.functional import logsigmoid

from dragon_rewards import compose
from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.mixture import Mixture
from dragon_train.loop.loop import train
from dragon_train.loop.run_folder import Claim, stored_config
from dragon_train.objectives.configured import completed, make_objective
from dragon_train.objectives.groups import dominates
from dragon_train.objectives.preference import Demonstrations, choose, choose_dominating
from dragon_train.protocols import Generations

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")

SEEDS = st.integers(0, 2**31)
TWO = "per-song-fad:logmel@tunebook + -0.5 * per-song-fad:chroma@airs"


def generations(values: torch.Tensor) -> Generations:
    """Clips of given rewards, (parts, clips); their latents are their rewards."""
    return Generations(values.T, clips_of(values.T), range(values.shape[1]))


def each_part(count: int) -> Any:
    """Rewards that are one coordinate each."""
    return tuple(Along(tuple(row)) for row in torch.eye(count).tolist())


def chosen(values: torch.Tensor, weights: tuple[float, ...]) -> Demonstrations:
    """D+ and D- of pairs of given rewards, (parts, 2, pairs)."""
    return choose_dominating(
        Mixture(each_part(len(values)), weights), generations(values[:, 0]), generations(values[:, 1])
    )


def drawn(seed: int, parts: int = 2, pairs: int = 12) -> torch.Tensor:
    return torch.randn(parts, 2, pairs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seed=SEEDS)
def test_every_winner_dominates_its_loser_and_no_pair_that_is_left_out_has_a_winner(seed: int) -> None:
    values = drawn(seed)
    demos = chosen(values, (1.0, 1.0))
    assert dominates(demos.positive.T, demos.negative.T).all()
    lead = values[:, 0] - values[:, 1]
    assert len(demos) == int((lead.sign().sum(0).abs() == 2).sum()) == round(12 * demos.figures["comparable"])


@given(seed=SEEDS)
def test_increasing_functions_of_each_part_and_the_sizes_of_weights_change_nothing(seed: int) -> None:
    values = drawn(seed)
    mapped = torch.stack([(3 * values[0]).exp(), values[1] ** 3])
    expected, found = (
        demos.select(torch.tensor(sorted(range(len(demos)), key=demos.positive_prompts.__getitem__), dtype=torch.long))
        for demos in (chosen(values, (1.0, -1.0)), chosen(mapped, (7.0, -0.1)))
    )
    assert found.positive_prompts == expected.positive_prompts
    assert torch.equal(
        found.positive, torch.stack([(3 * expected.positive[:, 0]).exp(), expected.positive[:, 1] ** 3], 1)
    )


@settings(max_examples=20)
@given(seed=SEEDS)
def test_parts_that_agree_give_what_the_reward_gives_bit_for_bit(seed: int) -> None:
    values = drawn(seed, parts=1)
    both, reward = torch.cat([values, values.exp()]), Mixture(each_part(2), (1.0, 0.5))
    found = chosen(both, (1.0, 0.5))
    config = replace(TINY, reward=TWO)
    expected = choose(reward, generations(both[:, 0]), generations(both[:, 1]), [], config, torch.Generator())
    assert torch.equal(found.positive, expected.positive)
    assert torch.equal(found.negative, expected.negative)
    assert found.positive_prompts == found.negative_prompts == expected.positive_prompts
    assert found.figures == {**expected.figures, "comparable": 1.0}


def learnt(winner: torch.Tensor) -> torch.Tensor:
    """The probabilities of clips after DPO by all pairs whose winners are true in (clips, clips), from even ones."""
    logits, (won, lost) = torch.zeros(len(winner), requires_grad=True), winner.nonzero().T
    for _ in range(300):
        (gradient,) = torch.autograd.grad(-logsigmoid(logits[won] - logits[lost]).sum(), logits)
        logits.data -= 0.1 * gradient
    return logits.detach().softmax(0)


def test_a_compromise_that_no_weighting_would_take_stays_as_probable_as_the_extremes() -> None:
    """Three clips on a front that is bent inwards, and below each of them one that it dominates."""
    front = torch.tensor([[1.0, 0.4, 0.0], [0.0, 0.4, 1.0]])
    judged = torch.cat([front, front - 0.05], 1)
    kept = learnt(dominates(judged[:, :, None], judged[:, None, :]))
    assert kept[:3] == pytest.approx([1 / 3] * 3, abs=0.05)
    for weight in (0.05, 0.35, 0.5, 0.65, 0.95):
        total = weight * judged[0] + (1 - weight) * judged[1]
        assert learnt(total[:, None] > total[None, :])[:3].argmax() != 1


@pytest.mark.parametrize("objective", ["dpo", "kto"])
def test_steps_without_any_comparable_pair_learn_nothing_and_the_run_goes_on(tmp_path: Path, objective: str) -> None:
    part = compose("per-song-fad:logmel@tunebook")
    config = replace(TINY, reward=TWO, objective=objective, options={"rule": "front"})
    rows: list[dict[str, float]] = []
    both = Mixture((part, part), (1.0, -1.0))  # of two clips each is better in one part
    train(config, tiny_policy(), both, make_objective(config), PROMPTS, tmp_path, rows.append)
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["comparable"] == 0 and not {"loss", "positive_reward", "kl"} & row.keys() for row in rows)
    learnt_weights = load_file(tmp_path / "adapter_model.safetensors")
    assert all(not weight.any() for name, weight in learnt_weights.items() if "lora_B" in name)


@pytest.mark.parametrize("objective", ["dpo", "kto"])
def test_an_interrupted_run_resumes_to_the_same_figures(tmp_path: Path, objective: str) -> None:
    config = replace(TINY, reward=TWO, objective=objective, steps=3, options={"rule": "front"})
    whole, resumed = whole_and_resumed(config, tmp_path)
    assert resumed == whole
    assert any(0 < row["comparable"] < 1 for row in whole)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"reward": "clap-score:clap"}, ["'clap-score:clap' has one", "use a mixture"]),
        ({"reward": "vendi:clap"}, ["'vendi:clap' judges whole sets", "take rewards of clips"]),
        ({"reward": "clap-score:clap + vendi:logmel"}, ["'vendi:logmel' judges whole sets"]),
        ({"objective": "kto", "pairing": "unpaired"}, ['use pairing = "paired"']),
        ({"keep": 0.5}, ["keep = 0.5", "use keep = 1"]),
        ({"pool": 2}, ["pool = 2", "use pool = 0"]),
        ({"options": {"rule": "best"}}, ["options.rule = 'best'", "front or reward"]),
    ],
)
def test_what_front_cannot_serve_is_refused_with_the_remedy(changes: dict[str, Any], named: list[str]) -> None:
    config = replace(TINY, reward=TWO, options={"rule": "front"})
    with pytest.raises(DragonError) as refused:
        make_objective(replace(config, **changes))
    assert all(words in str(refused.value) for words in named)


def test_a_run_from_before_there_was_the_rule_is_resumed_by_its_default_alone(tmp_path: Path) -> None:
    Claim(TINY, PROMPTS, []).write(tmp_path, {})
    assert stored_config(tmp_path).options == {}
    Claim(completed(TINY), PROMPTS, []).check(tmp_path)
    with pytest.raises(ConfigError, match="rule"):
        Claim(replace(TINY, options={"rule": "front"}), PROMPTS, []).check(tmp_path)
