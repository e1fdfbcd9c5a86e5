"""Composed rewards judge clips with the right parts and sign; names whose parts do not fit are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
import torch
from support.parts import CAPTIONS, RATE, Projection, noise

from dragon_rewards import metrics
from dragon_rewards.errors import ComposeError, DragonError, MissingPromptsError, TooFewClipsError, UnknownNameError
from dragon_rewards.media.clips import Clips
from dragon_rewards.protocols import Direction, Embeddings, ReductionInfo, RewardKind
from dragon_rewards.rewards import compose, valid_names

if TYPE_CHECKING:
    from torch import Tensor

    from dragon_rewards.metrics import Gaussian
    from dragon_rewards.registry import Registry

PER_CLIP = ["per-song-fad:ear@tunes", "per-song-fad:two@tunes", "per-song-fad:two@words", "clap-score:two"]
WHOLE_SET = [
    *("dataset-fad:ear@tunes", "dataset-fad:two@tunes", "dataset-fad:two@words"),
    *("fad-infinity:ear@tunes", "fad-infinity:two@tunes", "fad-infinity:two@words"),
    *("vendi:ear", "vendi:two", "best-of-4-clap-score:two"),
    *("kad:two@words", "mmd:two@words", "precision:two@words", "recall:two@words", "density:two@words"),
    "coverage:two@words",
]

REFUSALS = {
    "per-song-fad:ear": ("compares with an exemplar set: add @<set>", "per-song-fad:ear@tunes"),
    "vendi:ear@tunes": ("compares with no exemplar set: leave '@tunes' out", "vendi:ear"),
    "kad:ear@tunes": (
        "keeps an embedding of each example, which this reward compares with, for no encoder",
        "fad-infinity:ear@tunes",
    ),
    "kad:ear@words": ("'words' is text, and encoder 'ear' embeds no text", "kad:two@words"),
    "per-song-fad:ear@words": ("'words' is text, and encoder 'ear' embeds no text", "per-song-fad:two@words"),
    "clap-score:ear": ("compares clips with prompts, and encoder 'ear' embeds no text", "clap-score:two"),
    "aesthetics-degradation:ear": ("works only with encoder clap", "vendi:ear"),
}


class Loudness:
    """A reduction without `subsets`: mean of all frames."""

    def __call__(self, clips: Embeddings, reference: Gaussian | None) -> Tensor:
        assert reference is None
        return torch.stack([frames.mean() for frames in clips.frames]).mean()


def with_loudness(registry: Registry) -> Registry:
    info = ReductionInfo("loudness", RewardKind.DISTRIBUTION_TO_DISTRIBUTION, Direction.LOWER, "", Loudness)
    return replace(registry, reductions={**registry.reductions, "loudness": info})


def clips(count: int = 10) -> Clips:
    return Clips(noise(count), RATE, CAPTIONS[:count])


def test_the_valid_names_are_those_that_compose(registry: Registry) -> None:
    assert sorted(map(str, valid_names(registry))) == sorted(PER_CLIP + WHOLE_SET)


@pytest.mark.parametrize("name", PER_CLIP + WHOLE_SET)
def test_a_reward_keeps_its_name_and_has_the_shape_of_its_kind(registry: Registry, name: str) -> None:
    reward = compose(name, registry)
    assert reward.name == name
    shape = (10,) if reward.kind.per_clip else ()
    assert reward.metric(clips()).shape == shape
    torch.testing.assert_close(reward.value(clips()), reward.direction.sign * reward.metric(clips()))
    torch.testing.assert_close(reward.score(noise(10), RATE, CAPTIONS[:10]), reward.value(clips()))


@pytest.mark.parametrize("name", ["per-song-fad:ear@tunes", "dataset-fad:ear@tunes"])
def test_moving_away_from_the_exemplars_lowers_a_reward(registry: Registry, name: str) -> None:
    reward = compose(name, registry)
    near, far = reward.score(noise(6), RATE), reward.score(noise(6, scale=0.9), RATE)
    assert (near > far).all()


def test_a_reward_is_its_metric_of_the_stored_reference(registry: Registry) -> None:
    frames = Projection().encode_audio(noise(10))
    reference = registry.reference("tunes", "ear", frames.device)
    expected = metrics.per_song_fad(list(frames), reference)
    torch.testing.assert_close(compose("per-song-fad:ear@tunes", registry).metric(clips()), expected)


@pytest.mark.parametrize("name", WHOLE_SET)
def test_subsets_are_valued_as_if_alone(registry: Registry, name: str) -> None:
    reward, rows = compose(name, registry), torch.arange(8) + torch.tensor([[0], [1], [2]])
    rows[0] = rows[0].flip(0)
    alone = torch.stack([reward.value(clips().select(row)) for row in rows])
    torch.testing.assert_close(reward.subsets(clips())(rows), alone, rtol=1e-4, atol=1e-5)


def test_subsets_of_a_distance_expand_with_its_sign(registry: Registry) -> None:
    frames = Projection().encode_audio(noise(10))
    distance = metrics.dataset_fad_subsets(list(frames), registry.reference("tunes", "ear", frames.device))
    value = compose("dataset-fad:ear@tunes", registry).subsets(clips())
    arguments = torch.arange(10), torch.full((10,), 0.5), torch.eye(10)
    signed, raw = (part.expansion(*arguments) for part in (value, distance))  # type: ignore[attr-defined]
    assert torch.equal(signed.slope, -raw.slope)
    assert torch.equal(signed.curvature, -raw.curvature)
    assert compose("vendi:ear", registry).subsets(clips()).expansion is None  # type: ignore[attr-defined]


def test_a_reduction_without_subsets_is_called_for_each(registry: Registry) -> None:
    reward, rows = compose("loudness:ear", with_loudness(registry)), torch.tensor([[0, 1], [4, 5]])
    alone = torch.stack([reward.value(clips().select(row)) for row in rows])
    torch.testing.assert_close(reward.subsets(clips())(rows), alone)


def test_subsets_are_for_whole_sets_only(registry: Registry) -> None:
    with pytest.raises(DragonError, match="judges clip by clip"):
        compose("clap-score:two", registry).subsets(clips())


@pytest.mark.parametrize("name", REFUSALS)
def test_parts_that_do_not_fit_are_refused_with_the_nearest(registry: Registry, name: str) -> None:
    reason, nearest = REFUSALS[name]
    with pytest.raises(ComposeError, match=reason) as refusal:
        compose(name, registry)
    assert nearest in str(refusal.value).partition("nearest: ")[2].split(", ")[:3]


def test_an_audio_set_without_statistics_for_the_encoder_is_refused(registry: Registry) -> None:
    (registry.exemplar_set("tunes").path / "two.safetensors").unlink()
    with pytest.raises(ComposeError, match="no statistics for encoder 'two', only for ear; nearest: "):
        compose("dataset-fad:two@tunes", registry)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("per-sing-fad:ear@tunes", "unknown reduction 'per-sing-fad'; did you mean per-song-fad"),
        ("per-song-fad:eer@tunes", "unknown encoder 'eer'; did you mean ear"),
        ("per-song-fad:ear@tune", "unknown exemplar set 'tune'; did you mean tunes"),
    ],
)
def test_unknown_parts_are_named_with_the_nearest(registry: Registry, name: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        compose(name, registry)


@pytest.mark.parametrize("name", ["vendi:ear", "dataset-fad:ear@tunes"])
def test_one_clip_is_no_set(registry: Registry, name: str) -> None:
    reward = compose(name, registry)
    with pytest.raises(TooFewClipsError, match=f"'{name}' judges at least 2 clips at once, and got 1"):
        reward.value(clips(1))
    with pytest.raises(TooFewClipsError, match="got 1"):
        reward.subsets(clips())(torch.tensor([[0], [1]]))


def test_missing_prompts_are_refused_before_any_encoding(registry: Registry) -> None:
    with pytest.raises(MissingPromptsError, match="'clap-score:two' compares clips with their prompts: give one"):
        compose("clap-score:two", registry).score(noise(2), RATE)
    assert cast("Projection", registry.build_encoder("two")).passes == 0


def test_whichever_rewards_ask_each_encoder_runs_once(registry: Registry) -> None:
    shared = clips(8)
    for name in PER_CLIP + WHOLE_SET:
        compose(name, registry).value(shared)
    assert [cast("Projection", registry.build_encoder(name)).passes for name in ("ear", "two")] == [1, 1]


def test_references_are_loaded_once(registry: Registry) -> None:
    device = torch.device("cpu")
    assert registry.reference("tunes", "ear", device) is registry.reference("tunes", "ear", device)
