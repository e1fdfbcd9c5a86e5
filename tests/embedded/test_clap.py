"""The embedded two-tower encoder: shapes, unit length, and that text finds its music."""

from __future__ import annotations

import pytest
import torch

from dragon_rewards.embedded.clap import EmbeddedClap, load_encoder
from dragon_train.embedded.pipeline import load_policy


@pytest.fixture(scope="module")
def clap() -> EmbeddedClap:
    return load_encoder()


def test_towers_share_a_space_of_unit_vectors(clap: EmbeddedClap) -> None:
    frames = clap.encode_audio(torch.randn(2, 81_920) * 0.1)
    texts = clap.encode_text(["a jig on fiddle", "organ"])
    assert frames.shape == (2, 32, 128)
    assert texts.shape == (2, 128)
    assert torch.allclose(frames.norm(dim=-1), torch.ones(2, 32), atol=1e-5)
    assert torch.allclose(texts.norm(dim=-1), torch.ones(2), atol=1e-5)


def test_a_text_does_not_depend_on_its_neighbours(clap: EmbeddedClap) -> None:
    """Padding must not leak; tolerance 1e-5."""
    alone = clap.encode_text(["organ"])
    beside = clap.encode_text(["organ", "a slow, sad hymn played on church organ in the low register"])
    assert torch.allclose(alone[0], beside[0], atol=1e-5)


def test_unknown_and_empty_texts_are_embedded(clap: EmbeddedClap) -> None:
    assert clap.encode_text(["", "xylophonic zebra", "organ " * 100]).isfinite().all()


def test_synonyms_lie_nearer_than_opposites(clap: EmbeddedClap) -> None:
    slow, calm, fast = clap.encode_text(
        ["a slow hymn played on organ", "a calm hymn played on church organ", "a quick hymn played on banjo"]
    )
    assert slow @ calm > slow @ fast


def test_a_prompt_finds_the_clip_generated_for_it(clap: EmbeddedClap) -> None:
    """Of eight instruments; most generations must be nearest to their own prompt."""
    names = ["piano", "organ", "accordion", "guitar", "trumpet", "flute", "banjo", "harpsichord"]
    prompts = [f"a steady reel played on {name}" for name in names]
    policy = load_policy()
    audio = policy.decode(policy.sample(prompts, range(8), steps=10, guidance=3.0))
    pooled = clap.encode_audio(audio[:, 0]).mean(1)
    nearest = (pooled @ clap.encode_text(prompts).T).argmax(1)
    assert int((nearest == torch.arange(8)).sum()) >= 6
