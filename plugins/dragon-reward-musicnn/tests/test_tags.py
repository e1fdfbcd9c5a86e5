"""Prompts name tags, and clips agree with them."""

from __future__ import annotations

import logging

import pytest
import torch
from dragon_reward_musicnn import MusicnnTags
from dragon_reward_musicnn_tags import KIND_OF, KINDS, MTT_TAGS, SYNONYMS, TagAgreement, named_tags, tag_vectors
from torch import Tensor

from dragon_rewards import ComposeError, Embeddings, compose


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("A slow waltz on the fiddle", {"slow", "violin"}),
        ("fast flute and HARPSICHORD", {"fast", "flute", "harpsichord"}),
        ("heavy  metal with electric guitars", {"metal", "guitar"}),
        ("a string quartet, adagio", {"strings", "slow"}),
        ("a popular steadfast rocket", set()),
        ("a jig on the accordion", set()),
        ("", set()),
    ],
)
def test_prompts_name_tags(prompt: str, named: set[str]) -> None:
    assert named_tags(prompt) == named


def test_the_tables_name_tags_of_the_network() -> None:
    assert KIND_OF.keys() <= set(MTT_TAGS)
    assert SYNONYMS.keys() <= KIND_OF.keys()
    assert [len(tags) for tags in KINDS.values()] == [10, 12, 2]


def frames(**probabilities: float) -> Tensor:
    """A frame (1, 50) in which every tag has probability 0.1 but those that are given."""
    return torch.tensor([[probabilities.get(tag, 0.1) for tag in MTT_TAGS]]).logit()


def agreement(prompt: str, clip: Tensor) -> float:
    return float(TagAgreement()(Embeddings([clip], torch.tensor(tag_vectors([prompt]))), None))


def test_the_value_is_the_closed_form() -> None:
    clip = frames(violin=0.8, slow=0.3)
    violin = torch.tensor(0.8 / ((9 * 0.1 + 0.8) / 10)).log()
    slow = torch.tensor(0.3 / ((0.1 + 0.3) / 2)).log()
    assert agreement("a fiddle", clip) == pytest.approx(float(violin), rel=1e-5)
    assert agreement("a slow tune on a fiddle", clip) == pytest.approx(float((violin + slow) / 2), rel=1e-5)
    pair = (violin + torch.tensor(0.1 / ((9 * 0.1 + 0.8) / 10)).log()) / 2
    assert agreement("fiddle and flute", clip) == pytest.approx(float(pair), rel=1e-5)


def test_probabilities_are_means_over_patches() -> None:
    clip = torch.cat([frames(violin=0.9), frames(violin=0.1)])
    assert agreement("violin", clip) == pytest.approx(agreement("violin", frames(violin=0.5)), rel=1e-5)


def test_what_names_nothing_has_the_value_0() -> None:
    assert agreement("an accordion", frames(violin=0.9)) == 0


def test_strings_do_not_count_against_a_violin() -> None:
    assert agreement("violin", frames(violin=0.9, strings=0.99)) == agreement("violin", frames(violin=0.9))


def test_extreme_log_odds_have_finite_values_and_gradients() -> None:
    clip = torch.full((2, 50), -200.0, requires_grad=True)
    TagAgreement()(Embeddings([clip], torch.tensor(tag_vectors(["slow harp"]))), None).sum().backward()
    assert clip.grad is not None
    assert clip.grad.isfinite().all()
    assert clip.grad.any()


def test_prompts_that_name_none_are_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    encoder = MusicnnTags()
    with caplog.at_level(logging.WARNING):
        encoder.encode_text(["a jig", "a harp", "a jig", "a reel"])
        encoder.encode_text(["a jig"])
    [message] = caplog.messages
    assert message.startswith("2 of 3 different prompts name no instrument, style or tempo")
    assert "('a jig', 'a reel')" in message


def test_it_judges_tags_only() -> None:
    with pytest.raises(ComposeError, match="'tag-agreement' works only with encoder musicnn-tags"):
        compose("tag-agreement:clap")
    with pytest.raises(ComposeError, match="encoder 'musicnn-tags' works only with tag-agreement"):
        compose("clap-score:musicnn-tags")


def test_a_clip_is_scored_from_its_name() -> None:
    audio = 0.1 * torch.randn(2, 48_000, generator=torch.Generator().manual_seed(0))
    values = compose("tag-agreement:musicnn-tags").score(audio, 16_000, ["a slow air on the flute", "a jig"])
    assert values.isfinite().all()
    assert values[0] != 0
    assert values[1] == 0
