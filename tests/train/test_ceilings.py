"""Real music under the rewards of a benchmark: where there is headroom, how much of it tuning took, and why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.tiny import tiny_policy

from dragon_rewards import Clips, compose
from dragon_rewards.compute.devices import CPU
from dragon_rewards.errors import AudioError
from dragon_rewards.media.audio import read_audio, write_audio
from dragon_rewards.suites import load_suite
from dragon_train.bench import ceilings, real_clips
from dragon_train.bench.ceilings import COLUMNS, MISSING, Span, headroom
from dragon_train.bench.presets import load_preset
from dragon_train.bench.real_clips import AS_IS, CODEC, latents_of, measured_rows, origin_of, real_files, through_codec
from dragon_train.bench.result_files import REAL, REAL_MUSIC
from dragon_train.embedded.pipeline import load_policy
from dragon_train.embedded.real_music import VALUES, fitting_latents
from dragon_train.pipelines.stable_audio import StableAudioPolicy

HIGHER, LOWER, TEXTS = "vendi:logmel", "per-song-fad:logmel@tunebook", "per-song-fad:clap@airs-captions"
VALUE = st.floats(-100, 100)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    low, value, high = sorted(draw(st.lists(VALUE, min_size=3, max_size=3)))
    return Span(value, low, high)


@given(spans(), spans())
def test_headroom_follows_the_direction_of_the_metric(untuned: Span, real: Span) -> None:
    flipped = [Span(-span.value, -span.high, -span.low) for span in (untuned, real)]
    assert headroom(1, untuned, real) == headroom(-1, *flipped) == (untuned.high < real.low)
    assert not (headroom(1, untuned, real) and headroom(-1, untuned, real))


@given(spans(), VALUE)
def test_intervals_that_touch_leave_no_headroom(untuned: Span, width: float) -> None:
    above = Span(untuned.high + abs(width), untuned.high, untuned.high + abs(width))
    assert headroom(1, untuned, above) is False
    assert headroom(-1, above, untuned) is False


@given(spans())
def test_without_an_interval_headroom_is_unknown(span: Span) -> None:
    assert headroom(1, span, MISSING) is headroom(1, MISSING, span) is None
    assert headroom(-1, span, span._replace(low=float("nan"))) is None


def won(reward: str, before: Span, after: Span) -> dict[str, Any]:
    """A row of a table of win rates."""
    given_ = zip(("", "_low", "_high"), zip(before, after, strict=True), strict=True)
    ends = {f"{side}{end}": pair[place] for end, pair in given_ for place, side in enumerate(("before", "after"))}
    return {"run": reward, "served": reward, **ends}


def measured(reward: str, real: Span, **other: Any) -> dict[str, Any]:
    """A row of what was measured of real music."""
    values = {"value": real.value, "low": real.low, "high": real.high, "origin": origin_of(compose(reward))}
    return {"reward": reward, "music": "tunebook", "model": AS_IS, "clips": 8, **values, **other}


def row_of(win: dict[str, Any], *rows: dict[str, Any]) -> dict[Any, Any]:
    table = ceilings.ceilings(pd.DataFrame([win]), pd.DataFrame(rows, columns=list(real_clips.COLUMNS)), 8)
    assert list(table.columns) == COLUMNS
    return table.to_dict("records")[0]


@settings(deadline=None, max_examples=40)
@given(VALUE, st.floats(0.1, 10), st.floats(-1, 2), st.booleans())
def test_share_is_the_part_of_the_way_from_untuned_to_real(start: float, way: float, part: float, higher: bool) -> None:
    """With intervals of a hundredth of the way."""
    assume(abs(part) > 1e-3)
    goal = start + way if higher else start - way
    reached, reward = start + part * (goal - start), HIGHER if higher else LOWER
    before, after, real = (Span(value, value - way / 100, value + way / 100) for value in (start, reached, goal))
    found = row_of(won(reward, before, after), measured(reward, real))
    assert found["headroom"] is True
    assert found["share"] == pytest.approx(part, rel=1e-6)
    assert [found[name] for name in ("untuned", "tuned", "real", "music")] == [start, reached, goal, "tunebook"]
    better = row_of(won(reward, real, after), measured(reward, before))
    assert better["headroom"] is False
    assert pd.isna(better["share"])


def test_a_codec_stands_beside_real_music() -> None:
    span, coded = Span(1.0, 0.5, 1.5), Span(2.0, 1.5, 2.5)
    found = row_of(won(LOWER, coded, span), measured(LOWER, span), measured(LOWER, coded, model=CODEC))
    assert [found[name] for name in ("real", "codec", "codec_low", "codec_high")] == [1.0, *coded]


@pytest.mark.parametrize(
    ("reward", "rows", "reason"),
    [
        (TEXTS, [], "texts, no music"),
        (HIGHER, [], "no real music was measured under it"),
        ("clap-score:clap", [], "with prompts"),
        (HIGHER, [{"origin": "weights of old"}], "with other weights"),
        (HIGHER, [{"clips": 16}, {"clips": 4}], "of 4, 16 clips, not 8"),
    ],
)
def test_a_row_without_real_value_says_why(reward: str, rows: list[dict[str, Any]], reason: str) -> None:
    span = Span(1.0, 0.5, 1.5)
    found = row_of(won(reward, span, span), *(measured(reward, Span(9.0, 8.0, 9.5), **other) for other in rows))
    assert reason in found["note"]
    assert found["headroom"] is None
    assert pd.isna([found[name] for name in ("real", "codec", "share")]).all()


def test_a_benchmark_from_before_there_were_intervals_has_no_headroom() -> None:
    win = {"run": HIGHER, "served": HIGHER, "before": 1.0, "after": 2.0}
    found = row_of(win, measured(HIGHER, Span(3.0, 2.5, 3.5)))
    assert found["real"] == 3.0
    assert found["headroom"] is None


def test_no_table_where_no_real_music_was_measured(tmp_path: Path) -> None:
    wins = pd.DataFrame([won(HIGHER, MISSING, MISSING)])
    assert ceilings.write_ceilings(tmp_path, "stable-audio-open", 8, wins) is None
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tones of 6 s with prompts beside them."""
    made = tmp_path_factory.mktemp("clips") / "lake"
    for place in range(4):
        sine = torch.sin(2 * torch.pi * 220.0 * 1.2**place * torch.arange(96_000) / 16_000)
        write_audio(made / f"{place}.wav", 0.2 * sine, 16_000)
        (made / f"{place}.txt").write_text(f"a note {place}")
    return made


def test_real_clips_are_cut_as_generated_ones_and_go_through_the_codec(folder: Path, tmp_path: Path) -> None:
    rewards = (LOWER, HIGHER, TEXTS, "clap-score:clap")
    real_clips.measure_files(tmp_path / REAL, folder, real_files(folder, 4), rewards, "embedded", "cpu")
    table = real_clips.read_real(tmp_path / REAL / REAL_MUSIC, "measure again")
    assert list(zip(table["model"], table["reward"], strict=True)) == [
        (model, name) for model in (AS_IS, CODEC) for name in (LOWER, HIGHER, "clap-score:clap")
    ]
    assert set(table["music"]) == {"lake"}
    audio = torch.stack([read_audio(folder / f"{place}.wav")[0][0, :81_920] for place in range(4)])
    vae = load_policy().pipeline.vae
    for model, heard in ((AS_IS, audio), (CODEC, vae(audio[:, None])[:, 0])):
        value = compose(LOWER).metric(Clips(heard, 16_000)).mean()
        found = table[(table["model"] == model) & (table["reward"] == LOWER)].iloc[0]
        assert found["value"] == pytest.approx(float(value), rel=1e-4)
        assert found["low"] <= found["value"] <= found["high"]


def test_clips_that_are_short_or_too_few_are_refused(folder: Path) -> None:
    with pytest.raises(AudioError, match=r"lake' holds 4 audio files, and 5 clips are compared"):
        real_files(folder, 5)
    assert len(set(real_files(folder, 3))) == 3
    with pytest.raises(AudioError, match=r"0\.wav' lasts 6 s, and the pipeline's clips last 7 s"):
        real_clips.read_clips(real_files(folder, 4), folder, 7.0, 16_000, CPU)


def test_rewards_that_need_prompts_are_left_out_where_a_clip_has_none(folder: Path, tmp_path: Path) -> None:
    files = real_files(folder, 4)
    assert real_clips.read_clips(files, folder, 1.0, 8_000, CPU).prompts == tuple(f"a note {i}" for i in range(4))
    bare = tmp_path / "bare"
    for path in files:
        write_audio(bare / path.name, read_audio(path)[0], 16_000)
    clips = real_clips.read_clips(sorted(bare.iterdir()), bare, 1.0, 8_000, CPU)
    assert clips.prompts is None
    assert [clip.shape for clip in clips.audio] == [(1, 8_000)] * 4


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")  # of diffusers
def test_mono_clips_go_through_a_codec_of_two_channels() -> None:
    """The tiny pipeline's own autoencoder has half as many channels of latents as its decoder takes."""
    policy = tiny_policy("stable-audio")
    assert isinstance(policy, StableAudioPolicy)
    policy.pipeline.vae = type(policy.pipeline.vae).from_config(
        {**policy.pipeline.vae.config, "encoder_hidden_size": 8}
    )
    samples = round(policy.seconds * policy.sample_rate)
    audio = 0.1 * torch.randn(5, samples, generator=torch.Generator().manual_seed(0))
    clips = Clips(audio, policy.sample_rate, list("abcde"))
    latents, coded = latents_of(policy, clips), through_codec(policy, clips)
    assert latents.shape[1:] == policy.sample(["a"], [0], 2, 1.0).shape[1:]
    assert torch.equal(coded.audio[4], policy.decode(latents)[4])
    assert coded.audio[4].shape == (2, samples)
    assert coded.prompts == clips.prompts


def test_an_origin_is_of_weights_and_set(monkeypatch: pytest.MonkeyPatch) -> None:
    reward = compose(LOWER)
    assert origin_of(reward) != origin_of(compose("per-song-fad:logmel@airs"))
    before, encoder = origin_of(reward), reward.registry.build_encoder("logmel")
    monkeypatch.setattr(encoder, "identity", "logmel-retrained")
    assert origin_of(reward) != before


def test_an_interval_of_a_whole_set_is_of_the_raw_metric() -> None:
    clips = Clips(0.1 * torch.randn(6, 16_000, generator=torch.Generator().manual_seed(0)), 16_000)
    (row,) = measured_rows([compose("dataset-fad:logmel@tunebook")], clips, "noise", AS_IS)
    assert row["value"] == pytest.approx(float(compose(row["reward"]).metric(clips)), rel=1e-6)
    assert row["low"] < row["value"] < row["high"]


def test_what_ships_was_measured_with_what_ships() -> None:
    """Where weights or sets change, reports/embedded/measure_real.py makes it anew; judges may not be installed."""
    table = real_clips.read_real(VALUES, "install the package again")
    installed = [name for name in table["reward"].unique() if "musicnn" not in name]
    for name in installed:
        rows = table[table["reward"] == name]
        assert set(rows["origin"]) == {origin_of(compose(name))}
        assert sorted(zip(rows["clips"], rows["model"], strict=True)) == [
            (clips, model) for clips in (128, 192, 256) for model in (CODEC, AS_IS)
        ]
    suite = [slot.stand_in or slot.reward for slot in load_suite("dragon20").slots]
    assert set(installed) == {name for name in suite if real_clips.judges_music(compose(name))}
    assert {load_preset(name).heldout_prompts for name in ("quick", "full", "ablation")} <= set(table["clips"])
    latents = fitting_latents()
    assert latents is not None
    assert latents.latents.shape[0] == 48
