"""Several rewards at once, each measured by its own spread."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dragon_rewards import Clips, RewardKind, compose
from dragon_rewards.errors import ComposeError, UnknownNameError
from dragon_rewards.mixture import Mixture, compose_mixture, mean_and_spread

NAMES = ["vendi:clap", "clap-score:clap", "dataset-fad:clap@airs", "per-song-fad:vae@tunebook"]
weights = st.floats(-1e3, 1e3).filter(lambda x: abs(x) > 1e-3).map(lambda x: float(f"{x:g}"))


@pytest.fixture(scope="module")
def clips() -> Clips:
    noise = torch.randn(12, 32_000, generator=torch.Generator().manual_seed(0))
    loudness = torch.linspace(0.05, 0.5, 12)[:, None]
    return Clips(noise * loudness, 16_000, [f"a jig number {index}" for index in range(12)])


@given(st.lists(st.tuples(weights, st.sampled_from(NAMES)), min_size=1, unique_by=lambda term: term[1]))
def test_a_mixture_is_read_as_it_is_written(terms: list[tuple[float, str]]) -> None:
    expression = " + ".join(f"{weight:g} * {name}" for weight, name in terms)
    read = compose_mixture(expression)
    assert compose_mixture(read.name).name == read.name
    if isinstance(read, Mixture):
        assert list(zip(read.weights, (part.name for part in read.parts), strict=True)) == terms


def test_one_reward_with_weight_one_is_the_reward() -> None:
    assert compose_mixture("vendi:clap") == compose("vendi:clap")
    assert isinstance(compose_mixture("2 * vendi:clap"), Mixture)


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("vendi:clap + ", "no term"),
        ("much * vendi:clap", "'much \\* vendi:clap'"),
        ("0 * vendi:clap", "no term"),
        ("vendi:clap + 2 * vendi:clap", "twice"),
    ],
)
def test_what_is_no_mixture_is_refused(expression: str, word: str) -> None:
    with pytest.raises(ComposeError, match=word):
        compose_mixture(expression)
    with pytest.raises(UnknownNameError, match="clap"):
        compose_mixture("vendi:clapp + clap-score:clap")


def test_rewards_of_clips_add_up_in_units_of_their_spread(clips: Clips) -> None:
    mixture = compose_mixture("2 * clap-score:clap + -1 * per-song-fad:vae@tunebook")
    score, song = (compose(name).value(clips) for name in ("clap-score:clap", "per-song-fad:vae@tunebook"))
    assert mixture.kind is RewardKind.INSTANCE_TO_DISTRIBUTION
    assert torch.allclose(mixture.value(clips), 2 * score / score.std() - song / song.std())


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_do_not_matter(clips: Clips, factor: float) -> None:
    """A mixture of a reward with itself in another unit is the reward twice: here through the weights' scale."""
    one = compose_mixture("dataset-fad:clap@airs + clap-score:clap").subsets(clips)
    scaled = compose_mixture(f"{factor} * dataset-fad:clap@airs + {factor} * clap-score:clap").subsets(clips)
    rows = torch.stack([torch.randperm(12, generator=torch.Generator().manual_seed(s))[:6] for s in range(8)])
    assert torch.allclose(one(rows) * factor, scaled(rows), rtol=1e-9)


def test_in_a_mixture_with_sets_a_reward_of_clips_is_its_mean(clips: Clips) -> None:
    mixture = compose_mixture("vendi:clap + 0.5 * clap-score:clap")
    assert mixture.kind is RewardKind.DISTRIBUTION_TO_DISTRIBUTION
    rows = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]])
    vendi, score = compose("vendi:clap"), compose("clap-score:clap")
    means = score.value(clips)[rows].mean(1)
    values = mixture.subsets(clips)(rows)
    # Two unknown units, three rows: the values are an affine combination of the parts'.
    parts = torch.stack([vendi.subsets(clips)(rows), means]).double()
    units = torch.linalg.lstsq(parts.T, values.double()[:, None]).solution
    assert torch.allclose(parts.T @ units, values.double()[:, None], rtol=1e-9)
    assert (units > 0).all()


@pytest.mark.parametrize("expression", ["vendi:clap + 0.5 * clap-score:clap", "vendi:clap + -2 * dataset-fad:vae@airs"])
def test_of_all_clips_it_is_worth_the_set_of_all_clips(clips: Clips, expression: str) -> None:
    mixture = compose_mixture(expression)
    assert torch.allclose(mixture.value(clips), mixture.subsets(clips)(torch.arange(12)[None])[0], rtol=1e-5)


def test_a_gradient_reaches_clips_through_a_mixture_with_sets(clips: Clips) -> None:
    audio = torch.stack([clip.flatten() for clip in clips.media]).requires_grad_()
    value = compose_mixture("vendi:logmel + 0.5 * dataset-fad:clap@airs").value(Clips(audio, 16_000, clips.prompts))
    value.backward()
    assert value.shape == ()
    assert audio.grad is not None
    assert audio.grad.isfinite().all()
    assert audio.grad.abs().amax(-1).gt(0).all()


def test_where_a_reward_stands(clips: Clips) -> None:
    score = compose("clap-score:clap").value(clips)
    assert mean_and_spread(compose("clap-score:clap"), clips) == pytest.approx(
        (float(score.mean()), float(score.std()))
    )
    mean, spread = mean_and_spread(compose("vendi:clap"), clips)
    assert 1 < mean < 6  # halves of 12 clips
    assert spread > 0


def test_a_reward_that_does_not_vary_chooses_nothing() -> None:
    same = Clips(torch.ones(4, 32_000) * torch.sin(torch.arange(32_000) / 9), 16_000, ["a jig"] * 4)
    values = compose_mixture("clap-score:clap + per-song-fad:clap@airs").value(same)
    assert torch.allclose(values, values[0].expand(4), rtol=1e-4)
