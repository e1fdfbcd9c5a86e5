"""The pipeline of tokens: its codebook, its steps, its likelihoods, and gradient through drawn tokens."""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.pipelines import load, masked_audio_pipeline
from torch import Tensor, nn

from dragon_rewards.errors import DragonError
from dragon_train.masked.codebook import ProductCodebook
from dragon_train.masked.scheduler import MaskedScheduler
from dragon_train.pipelines.masked_audio import MaskedAudioPolicy
from dragon_train.protocols import Draw

PROMPTS = ["a slow hymn on the organ", "a jig"]


@pytest.fixture(scope="module")
def policy(saved: Path) -> Any:
    return load("masked-audio", saved)


def made_codebook(channels: int, groups: int, vocabulary: int, seed: int = 0) -> ProductCodebook:
    torch.manual_seed(seed)
    codebook: ProductCodebook = ProductCodebook(channels, groups, vocabulary)
    codebook.rotation.copy_(torch.linalg.qr(torch.randn(channels, channels))[0])
    codebook.centroids[:, :, 0] += 3 * (1 + torch.arange(vocabulary))  # none is 0, and no two are the same
    return codebook


@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 3), st.integers(1, 9))
def test_tokens_are_read_again_from_their_latents(seed: int, groups: int, size: int, vocabulary: int) -> None:
    codebook = made_codebook(groups * size, groups, vocabulary, seed % 1000)
    tokens = torch.randint(vocabulary, (2, groups, 5), generator=torch.Generator().manual_seed(seed))
    latents = codebook.restore(codebook.embed(tokens))
    read = codebook.rotate(latents)
    assert not codebook.masked(read).any()
    assert torch.equal(codebook.tokens(read), tokens)
    assert torch.allclose(codebook(latents), latents, atol=1e-5)


def test_latents_go_to_the_nearest_of_all_combinations_of_centroids() -> None:
    codebook = made_codebook(4, 2, 5)
    latents = torch.randn(1, 4, 7)
    every = torch.tensor(list(product(range(5), repeat=2)))[:, :, None]
    near = torch.cdist(latents[0].T, codebook.restore(codebook.embed(every))[:, :, 0]).argmin(1)
    assert torch.allclose(codebook(latents)[0].T, codebook.restore(codebook.embed(every))[near, :, 0], atol=1e-5)


def test_masked_groups_are_seen_whatever_the_others_hold() -> None:
    codebook = made_codebook(6, 3, 4)
    masked = torch.rand(2, 3, 9) < 0.5
    coordinates = codebook.embed(torch.randint(4, (2, 3, 9))) * ~masked[:, :, None]
    assert torch.equal(codebook.masked(codebook.rotate(codebook.restore(coordinates))), masked)


def test_no_clip_ends_with_a_mask(policy: Any) -> None:
    book = policy.pipeline.codebook
    for steps in (1, 2, 5):
        latents = policy.sample(PROMPTS, [1, 2], steps, 1.0)
        assert not book.masked(book.rotate(latents)).any()
        assert torch.allclose(book(latents), latents, atol=1e-5)


def test_tokens_stay_once_they_are_there(policy: Any) -> None:
    seen: list[Tensor] = []
    policy.pipeline(**policy.call_arguments(PROMPTS, [1, 2], 6, 1.0), callback=lambda _, __, z: seen.append(z.clone()))
    book = policy.pipeline.codebook
    for before, after in pairwise(seen):
        kept = ~book.masked(book.rotate(before))
        assert (~book.masked(book.rotate(after)) >= kept).all()
        tokens = [book.tokens(book.rotate(each))[kept] for each in (before, after)]
        assert torch.equal(*tokens)


def test_one_who_knows_the_tokens_samples_them(policy: Any) -> None:
    book = policy.pipeline.codebook
    clean = book(torch.randn(1, 4, 64, generator=torch.Generator().manual_seed(9)))
    logits = 50 * nn.functional.one_hot(book.tokens(book.rotate(clean)), 8).movedim(3, 2).flatten(1, 2).float()
    handle = policy.denoiser.register_forward_hook(lambda *_: (logits,))
    try:
        assert torch.allclose(policy.sample(PROMPTS[:1], [1], 4, 1.0), clean, atol=1e-5)
    finally:
        handle.remove()


def test_a_share_of_tokens_is_masked_before_each_step() -> None:
    """Of 20,000 tokens as many are unmasked as the shares say; three standard errors are 1%."""
    scheduler = MaskedScheduler()
    scheduler.codebook = made_codebook(2, 1, 3)
    scheduler.set_timesteps(5)
    sample, source = torch.zeros(1, 2, 20_000), torch.Generator().manual_seed(0)
    for share in scheduler.timesteps:
        masked = scheduler.codebook.masked(scheduler.codebook.rotate(sample))
        assert float(masked.float().mean()) == pytest.approx(float(share), abs=0.011)
        sample = scheduler.step(torch.zeros(1, 3, 20_000), share, sample, source).prev_sample


def test_tokens_are_drawn_from_the_softmax_of_the_logits() -> None:
    scheduler = MaskedScheduler()
    scheduler.codebook = made_codebook(2, 1, 4)
    scheduler.set_timesteps(1)
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0])
    drawn = scheduler.step(logits[None, :, None].expand(1, 4, 40_000), torch.ones(()), torch.zeros(1, 2, 40_000))
    tokens = scheduler.codebook.tokens(scheduler.codebook.rotate(drawn.prev_sample))
    shares = torch.bincount(tokens.flatten(), minlength=4) / 40_000
    assert torch.allclose(shares, logits.softmax(0), atol=0.01)  # four standard errors


def test_the_bound_is_the_surprise_of_the_masked_tokens(policy: Any) -> None:
    latents = policy.sample(PROMPTS, [1, 2], 2, 1.0)
    condition, draw = policy.condition(PROMPTS), policy.draw(latents, torch.Generator().manual_seed(0))
    question = policy.noise.denoising_target(latents, draw)
    with torch.no_grad():
        found = policy.denoising_error(latents, condition, draw)
        logs = policy.logits(policy.answer(question, condition)).log_softmax(2)
    for clip in range(2):
        total = sum(
            -float(logs[clip, group, question.target[clip, group, frame], frame])
            for group, frame in product(range(2), range(64))
            if draw.noise[clip, group, frame] < draw.level[clip]
        )
        assert float(found[clip]) == pytest.approx(total / 128 / float(draw.level[clip]), rel=1e-4)


def test_what_is_not_masked_is_not_guessed(policy: Any) -> None:
    latents = policy.sample(PROMPTS, [1, 2], 2, 1.0)
    book, draw = policy.pipeline.codebook, policy.draw(latents, torch.Generator().manual_seed(0))
    with torch.no_grad():
        estimate = policy.denoised(latents, policy.condition(PROMPTS), draw)
    kept = (draw.noise >= draw.level[:, None, None])[:, :, None].expand(-1, -1, 2, -1)
    assert torch.allclose(book.rotate(estimate)[kept], book.rotate(latents)[kept], atol=1e-5)
    none = Draw(draw.noise, torch.zeros(2))
    assert torch.allclose(policy.denoised(latents, policy.condition(PROMPTS), none), latents, atol=1e-5)


def test_drawn_tokens_with_gradient_are_the_drawn_tokens(policy: Any) -> None:
    """Straight-through: what is decoded are centroids, whatever the relaxation."""
    for relaxation in (0.1, 1.0, 10.0):
        policy.pipeline.scheduler.relaxation = relaxation
        found = policy.sample(PROMPTS, [1, 2], 3, 1.0, gradient_steps=2)
        assert found.requires_grad
        assert torch.allclose(found.detach(), policy.sample(PROMPTS, [1, 2], 3, 1.0), atol=1e-6)
    policy.pipeline.scheduler.relaxation = 1.0


def test_the_gradient_is_of_the_relaxed_draw() -> None:
    """And where the relaxation goes to 0, what is relaxed is the drawn token."""
    scheduler = MaskedScheduler(relaxation=1.0)
    scheduler.codebook = made_codebook(2, 1, 4)
    scores = torch.randn(6, 4, requires_grad=True)
    groups, pull = torch.zeros(6, dtype=torch.long), torch.randn(6, 2)
    (found,) = torch.autograd.grad((scheduler.draw(scores, groups) * pull).sum(), scores)
    soft = scores.softmax(1) @ scheduler.codebook.centroids[0]
    (wanted,) = torch.autograd.grad((soft * pull).sum(), scores)
    assert torch.allclose(found, wanted, atol=1e-6)
    cold = (scores / 1e-4).softmax(1) @ scheduler.codebook.centroids[0]
    assert torch.allclose(cold, scheduler.draw(scores, groups), atol=1e-3)


def test_divergence_is_0_from_itself_and_equals_the_sum_over_all_steps_that_can_be_taken() -> None:
    """Two tokens of three values: the kernel of a step over {mask, 0, 1, 2}^2, by enumeration."""
    tiny = masked_audio_pipeline()
    small = MaskedAudioPolicy(tiny)
    tiny.scheduler.codebook = tiny.codebook = made_codebook(2, 1, 3)
    tiny.scheduler.set_timesteps(3)
    share = tiny.scheduler.timesteps[1]
    u = float(tiny.scheduler.unmasking(share))
    p, q = torch.randn(2, 1, 3, 2).unbind()
    asked = {"hidden_states": torch.cat([torch.zeros(1, 2, 2), torch.ones(1, 1, 2)], 1), "timestep": share[None]}
    assert float(small.divergence(asked, p, p)) == 0.0
    total = 0.0
    for step in product(range(4), repeat=2):  # 3 is the mask, which stays
        chances = [
            [u * float(each.softmax(1)[0, token, place]) if token < 3 else 1 - u for place, token in enumerate(step)]
            for each in (p, q)
        ]
        own, other = (torch.tensor(each).prod() for each in chances)
        total += float(own * (own / other).log())
    assert float(small.divergence(asked, p, q)) == pytest.approx(total, rel=1e-4)
    kept = {**asked, "hidden_states": torch.zeros(1, 3, 2)}
    assert float(small.divergence(kept, p, q)) == 0.0


def test_there_are_no_gaussian_steps(policy: Any) -> None:
    with pytest.raises(DragonError, match="no Gaussian steps"):
        policy.start(PROMPTS, [1, 2], 3)


def test_a_saved_pipeline_is_the_same_pipeline(policy: Any, tmp_path: Path) -> None:
    """And no class but those that the adapter names is taken from a checkpoint's index."""
    from dragon_train.registry import load_train_registry

    policy.pipeline.save_pretrained(tmp_path / "again")
    again: Any = load_train_registry().pipeline(str(tmp_path / "again")).factory()
    assert torch.equal(again.sample(PROMPTS, [1, 2], 3, 1.0), policy.sample(PROMPTS, [1, 2], 3, 1.0))
    index = tmp_path / "again" / "model_index.json"
    index.write_text(index.read_text().replace("dragon_train.masked.scheduler", "dragon_train.registry"))
    with pytest.raises(DragonError, match="code of a checkpoint is not run"):
        load_train_registry().pipeline(str(tmp_path / "again")).factory()
