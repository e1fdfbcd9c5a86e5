"""DiffusionNFT and AWM: the identities of their losses, and what they learn on the embedded model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import CONFIG as TINY
from support.tiny import tiny_run, whole_and_resumed

from dragon_rewards import compose
from dragon_rewards.media.media import Media
from dragon_rewards.mixture import compose_mixture
from dragon_train.config import TrainConfig, Tuning
from dragon_train.embedded.pipeline import load_policy
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.learner import PolicyLearner, Snapshot
from dragon_train.loop.loop import train
from dragon_train.loop.processes import Processes
from dragon_train.loop.rollout import generate
from dragon_train.objectives.configured import completed, make_objective
from dragon_train.objectives.groups import pseudo_values
from dragon_train.objectives.nft import NFT, Weighed, size, squared
from dragon_train.pipelines.stable_audio import StableAudioPolicy

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")

TEXTS = prompts("watch")[:12]
CONFIG = TrainConfig("clap-score:clap", objective="nft", steps=1, prompts_per_step=4, demonstration_steps=2, epochs=1)
SEEDS = st.integers(0, 2**31)


def estimates(seed: int, units: int = 4) -> tuple[torch.Tensor, ...]:
    """The policy's estimate, the previous policy's, the latents, and advantages."""
    generator = torch.Generator().manual_seed(seed)
    now, before, clean = torch.randn(3, units, 2, 5, generator=generator, dtype=torch.float64)
    return now, before, clean, 2 * torch.rand(units, generator=generator, dtype=torch.float64) - 1


def slope(objective: NFT, at: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    """The gradient of the loss in the policy's estimate."""
    now = at.clone().requires_grad_()
    objective.loss(now, *others).sum().backward()
    assert now.grad is not None
    return now.grad


@given(seed=SEEDS, mixing=st.floats(0.05, 5))
def test_the_first_gradient_is_that_of_awm_and_of_the_weighted_error(seed: int, mixing: float) -> None:
    _, before, clean, advantage = estimates(seed)
    found = [slope(NFT(mixing=mixing, form=form), before, before, clean, advantage) for form in ("nft", "awm")]
    weighted = 10 * (advantage / size(before - clean))[:, None, None] * (before - clean) / before[0].numel()
    assert torch.allclose(found[0], found[1], atol=1e-10)
    assert torch.allclose(found[0], weighted, atol=1e-10)


@given(seed=SEEDS)
def test_clips_without_advantage_do_not_move_the_policy(seed: int) -> None:
    """Whatever sampler made them, as one with guidance: the clips themselves are not imitated."""
    _, before, clean, advantage = estimates(seed)
    assert slope(NFT(), before, before, clean, 0 * advantage).abs().max() == 0


@given(seed=SEEDS, mixing=st.floats(0.05, 5))
def test_the_first_value_does_not_depend_on_the_advantages(seed: int, mixing: float) -> None:
    _, before, clean, advantage = estimates(seed)
    values = [NFT(mixing=mixing).loss(before, before, clean, each) for each in (advantage, -advantage)]
    assert torch.allclose(values[0], values[1], atol=1e-10)


@given(seed=SEEDS, mixing=st.floats(0.05, 5))
def test_the_loss_is_a_parabola_around_the_previous_policy(seed: int, mixing: float) -> None:
    """With d = D - D' and e = x - D': of the best clips b |d|^2 - 2 d e + |e|^2 / b, of awm (A + b) |d|^2 and so on."""
    now, before, clean, advantage = estimates(seed)
    d, e = now - before, clean - before
    product = (d * e).flatten(1).mean(1)
    best = NFT(mixing=mixing).loss(now, before, clean, torch.ones_like(advantage)) * size(mixing * d - e)
    assert torch.allclose(best, 5 * (mixing * squared(d) - 2 * product + squared(e) / mixing), atol=1e-10)
    awm = NFT(mixing=mixing, form="awm").loss(now, before, clean, advantage) * size(e)
    expected = (advantage + mixing) * squared(d) - 2 * advantage * product + advantage * squared(e)
    assert torch.allclose(awm, 5 * expected, atol=1e-10)


def test_the_optimum_moves_by_the_covariance_of_advantage_and_clip() -> None:
    """One clip's posterior in one dimension: D = D' + Cov(A, x | noised) / b, by gradient descent on the loss.

    Divisors have no gradient and are 1 here, as all latents are one away from the previous estimate.
    """
    clean = torch.tensor([-1.0, 1.0, 1.0, -1.0], dtype=torch.float64)[:, None]
    advantage = torch.tensor([-0.5, 0.9, 0.1, -0.5], dtype=torch.float64)
    before, now = torch.zeros_like(clean), torch.zeros(1, dtype=torch.float64)
    for _ in range(400):
        now = now - 0.02 * slope(NFT(form="awm", mixing=2.0), now.expand(4, 1), before, clean, advantage).mean(0)
    mean_advantage = float(advantage.mean())
    assert float(now) == pytest.approx(float((advantage[:, None] * clean).mean()) / (mean_advantage + 2.0), abs=1e-6)


def group_of(policy: StableAudioPolicy, advantage: list[float]) -> Weighed:
    latents = policy.sample(TEXTS[:2], [1, 2], 2, 1.0)
    return Weighed(latents, list(TEXTS[:2]), torch.tensor(advantage), {"reward": 0.0})


@pytest.mark.parametrize("tuning", ["lora", "all"])
@pytest.mark.parametrize("form", ["nft", "awm"])
def test_a_reward_that_is_the_same_for_all_moves_no_weight(
    policy: StableAudioPolicy, tuning: Tuning, form: str
) -> None:
    config = replace(CONFIG, tuning=tuning, options={"form": form}, epochs=3)
    learner = PolicyLearner(policy, config, Processes("no"))
    before = [parameter.detach().clone() for parameter in learner.tuning.parameters]
    learnt = learner.learn(make_objective(config), group_of(policy, [0.0, 0.0]), torch.Generator().manual_seed(0))
    assert learnt["moved"] == 0
    assert all(torch.equal(*pair) for pair in zip(before, learner.tuning.parameters, strict=True))


def test_learning_draws_near_a_good_clip_and_away_from_a_bad_one(policy: StableAudioPolicy) -> None:
    config = replace(CONFIG, learning_rate=1e-3, epochs=12)
    learner = PolicyLearner(policy, config, Processes("no"))
    group = group_of(policy, [1.0, -1.0])
    draw = policy.draw(group.latents, torch.Generator().manual_seed(9))
    asked = group.latents, group.prompts, draw
    with torch.no_grad():
        before = learner.denoising_error(*asked)
    learnt = learner.learn(make_objective(config), group, torch.Generator().manual_seed(0))
    with torch.no_grad():
        after, (good, bad) = learner.denoising_error(*asked), (0, 1)
    assert learnt["moved"] > 0
    assert after[good] < before[good]
    assert after[bad] > before[bad]


def test_the_previous_policy_is_the_untuned_one_until_it_follows(policy: StableAudioPolicy) -> None:
    learner = PolicyLearner(policy, replace(CONFIG, learning_rate=1e-2), Processes("no"))
    group = group_of(policy, [1.0, -1.0]).draw(policy, torch.Generator().manual_seed(0))
    assert group.noise is not None
    asked = group.latents, group.prompts, group.noise
    objective = make_objective(learner.config)
    learner.learn(objective, group, torch.Generator().manual_seed(0))

    def made(where: object) -> torch.Tensor:
        with torch.no_grad(), where:  # type: ignore[attr-defined]
            return learner.denoised(*asked)

    untuned, previous = made(learner.reference()), made(learner.previous())
    with torch.no_grad():
        now = learner.denoised(*asked)
    assert torch.equal(untuned, previous)
    assert not torch.equal(untuned, now)
    learner.follow(0.0)
    assert torch.equal(made(learner.previous()), now)


@given(seed=SEEDS, share=st.floats(0, 1))
def test_a_snapshot_follows_by_its_share_and_swaps_both_ways(seed: int, share: float) -> None:
    weights = [torch.randn(3, generator=torch.Generator().manual_seed(seed), requires_grad=True)]
    snapshot = Snapshot(weights)
    old, new = weights[0].detach().clone(), torch.ones(3)
    weights[0].data = new.clone()
    snapshot.follow(share)
    with snapshot.swapped():
        assert torch.allclose(weights[0], share * old + (1 - share) * new, atol=1e-6)
    assert torch.equal(weights[0], new)


def test_pseudo_values_of_a_reward_of_sets_follow_what_a_clip_adds(frozen_policy: StableAudioPolicy) -> None:
    """Of a mean over clips they are the clips' own values; of others, their order is that of leave-one-out."""
    clips = generate(frozen_policy, TEXTS[:6], range(6), 2, 1.0).clips
    for name in ("dataset-fad:clap@airs", "vendi:clap"):
        reward = compose(name)
        rest = [reward.value(clips.select([i for i in range(6) if i != out])) for out in range(6)]
        expected = [float(6 * reward.value(clips) - 5 * each) for each in rest]
        assert pseudo_values(reward, clips).tolist() == pytest.approx(expected, rel=1e-3, abs=1e-5)
    song = compose("per-song-fad:clap@airs")
    assert torch.equal(pseudo_values(song, clips), song.value(clips))


@pytest.mark.parametrize("rule", ["std", "group", "rank", "jury"])
def test_mixtures_with_sets_take_every_rule(rule: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"advantage": rule, "group": 3, "levels": 2, "kl": 0.1}
    config = replace(TINY, objective="nft", reward="vendi:clap + -0.5 * per-song-fad:logmel@airs", options=options)
    rows = tiny_run(config, tmp_path)
    assert all(row["gradient_norm"] > 0 and row["best_reward"] > row["reward"] for row in rows)
    assert rows[0]["tied"] < (1 if rule == "jury" else 0.01)  # two jurors may disagree
    assert rows[1]["kl"] > 0


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_an_interrupted_run_resumes_to_the_same_figures(tmp_path: Path, tuning: Tuning) -> None:
    config = replace(TINY, objective="nft", steps=3, tuning=tuning, options={"group": 3, "kl": 0.1})
    whole, resumed = whole_and_resumed(config, tmp_path)
    assert resumed == whole


@pytest.mark.slow
@pytest.mark.parametrize("reward", ["per-song-fad:clap@airs", "dataset-fad:clap@airs + 0.5 * vendi:clap"])
def test_it_raises_its_reward(reward: str, tmp_path: Path) -> None:
    """On prompts that it was not trained on, from the same seeds before and after."""
    options = {"group": 6, "levels": 2}
    config = TrainConfig(reward, objective="nft", steps=8, prompts_per_step=12, demonstration_steps=3, epochs=1)
    config = replace(config, learning_rate=1e-3, minibatch=72, options=options)
    policy, judge = load_policy(), compose_mixture(reward)

    def judged() -> torch.Tensor:
        clips = [generate(policy, TEXTS, range(s, s + 12), 3, 1.0).clips for s in (0, 100, 200)]
        return torch.cat([part.value(Media.concatenate(clips)).flatten() for part in judge.parts])

    before = judged()
    train(completed(config), policy, judge, make_objective(config), prompts("train"), tmp_path, lambda _: None)
    assert (judged() > before).float().mean() > 0.6
