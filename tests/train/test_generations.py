"""D+ and D- chosen from on-policy generations of the embedded model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from dragon_rewards import Clips, compose
from dragon_train.config import TrainConfig
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.rollout import generate
from dragon_train.objectives.preference import choose
from dragon_train.pipelines.stable_audio import StableAudioPolicy
from dragon_train.protocols import Generations

COUNT = 24


@pytest.fixture(scope="module")
def two_sets(frozen_policy: StableAudioPolicy) -> tuple[Generations, Generations]:
    texts = prompts("watch")[:COUNT]
    a, b = (generate(frozen_policy, texts, range(s, s + COUNT), steps=6, guidance=1.0) for s in (100, 200))
    return a, b


def config(name: str, *, paired: bool = True) -> TrainConfig:
    return TrainConfig(name, pairing="paired" if paired else "unpaired", objective="kto")


def chosen(name: str, sets: tuple[Generations, Generations], *, paired: bool = True) -> list[int]:
    """Indices of D+ among the clips of both sets."""
    demos = choose(compose(name), *sets, [], config(name, paired=paired), torch.Generator().manual_seed(0))
    both = torch.cat([sets[0].latents, sets[1].latents])
    return [int((both - latent).flatten(1).abs().sum(1).argmin()) for latent in demos.positive]


@pytest.mark.slow
@pytest.mark.parametrize("space", ["vae@tunebook", "clap@tunebook", "clap@airs"])
def test_selection_alone_reproduces_the_pattern_of_table_5(
    two_sets: tuple[Generations, Generations], space: str
) -> None:
    """DRAGON, Table 5: D+ by dataset FAD has the lowest dataset FAD, D+ by per-song FAD the lowest per-song FAD."""
    a, b = two_sets
    clips = a.clips.concatenate([a.clips, b.clips])
    per_song, dataset = compose(f"per-song-fad:{space}"), compose(f"dataset-fad:{space}")
    picks = {
        "A": list(range(COUNT)),
        "B": list(range(COUNT, 2 * COUNT)),
        "per-song": chosen(per_song.name, two_sets),
        "dataset": chosen(dataset.name, two_sets),
    }
    songs = {name: float(per_song.metric(clips.select(rows)).mean()) for name, rows in picks.items()}
    whole = {name: float(dataset.metric(clips.select(rows))) for name, rows in picks.items()}
    assert min(songs, key=lambda name: songs[name]) == "per-song"
    assert min(whole, key=lambda name: whole[name]) == "dataset"


@pytest.mark.parametrize("name", ["per-song-fad:clap@airs", "dataset-fad:clap@airs", "vendi:clap", "clap-score:clap"])
def test_pairs_stay_pairs(two_sets: tuple[Generations, Generations], name: str) -> None:
    demos = choose(compose(name), *two_sets, [], config(name), torch.Generator().manual_seed(0))
    assert list(demos.positive_prompts) == list(demos.negative_prompts)
    assert demos.positive_reward >= demos.reward


@pytest.mark.parametrize("name", ["clap-score:clap", "dataset-fad:clap@airs"])
def test_unpaired_selection_splits_all_clips(two_sets: tuple[Generations, Generations], name: str) -> None:
    demos = choose(compose(name), *two_sets, [], config(name, paired=False), torch.Generator().manual_seed(0))
    latents = torch.cat([demos.positive, demos.negative])
    assert len(torch.unique(latents.flatten(1), dim=0)) == 2 * COUNT
    assert demos.positive_reward >= demos.reward


def test_the_pairs_that_differ_most_are_kept(two_sets: tuple[Generations, Generations]) -> None:
    a, b = two_sets
    reward = compose("clap-score:clap")
    half = replace(config(reward.name), keep=0.5)
    demos = choose(reward, a, b, [], half, torch.Generator().manual_seed(0))
    gaps = (reward.value(a.clips) - reward.value(b.clips)).abs().sort(descending=True)
    kept = {a.clips.prompts[i] for i in gaps.indices[: COUNT // 2].tolist()}  # type: ignore[index]
    assert set(demos.positive_prompts) == kept


def test_a_pool_counts_beside_d_plus_with_both_sets(two_sets: tuple[Generations, Generations]) -> None:
    a, b = two_sets
    reward = compose("dataset-fad:clap@airs")
    pool = [b.clips.select(range(8))]
    pooled = replace(config(reward.name), pool=1)
    demos = choose(reward, a, b, pool, pooled, torch.Generator().manual_seed(0))
    joined = a.clips.concatenate([a.clips, b.clips, *pool])
    rows = [*chosen_rows(demos.positive, two_sets), *range(2 * COUNT + 8)]
    assert demos.positive_reward == pytest.approx(float(reward.value(joined.select(rows))), rel=1e-9)


def chosen_rows(positive: torch.Tensor, sets: tuple[Generations, Generations]) -> list[int]:
    both = torch.cat([sets[0].latents, sets[1].latents])
    return [int((both - latent).flatten(1).abs().sum(1).argmin()) for latent in positive]


def counting(
    passes: dict[str, int], name: str, encode: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[torch.Tensor], torch.Tensor]:
    def counted(audio: torch.Tensor) -> torch.Tensor:
        passes[name] += len(audio)
        return encode(audio)

    return counted


def test_each_encoder_runs_once_whatever_is_asked(
    two_sets: tuple[Generations, Generations], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = two_sets
    clips = Clips(a.clips.media, 16_000, a.clips.prompts)
    registry = compose("vendi:clap").registry
    passes = {"clap": 0, "vae": 0}
    for name in passes:
        encoder: Any = registry.build_encoder(name)
        monkeypatch.setattr(encoder, "encode_audio", counting(passes, name, encoder.encode_audio))
    for reward in ("vendi:clap", "clap-score:clap", "per-song-fad:clap@airs", "dataset-fad:clap@tunebook-captions"):
        compose(reward).metric(clips)
    for reward in ("per-song-fad:vae@airs", "dataset-fad:vae@tunebook", "dataset-fad:vae@airs"):
        compose(reward).metric(clips)
    assert passes == {"clap": COUNT, "vae": COUNT}
