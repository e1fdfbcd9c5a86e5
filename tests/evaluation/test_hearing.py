"""Whether an encoder hears a difference: one that does, one that hears nothing, and what damage does to audio."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest
import torch
from scipy.stats import mannwhitneyu
from support.parts import DIM, RATE, Projection
from torch import Tensor

from dragon_rewards import DragonError, TooFewClipsError, load_registry
from dragon_rewards.compute.devices import CPU
from dragon_rewards.evaluation.damages import SEMITONES, low_passed, noisy, pitch_shifted
from dragon_rewards.evaluation.hearing import PASSES, Ear, Hearing, Verdict, hear, sentence, standard_error
from dragon_rewards.evaluation.tracks import Track, check_count, draw
from dragon_rewards.metrics import Gaussian, per_song_fad
from dragon_rewards.plugins import PluginRecord
from dragon_rewards.protocols import EncoderInfo, Modality
from dragon_rewards.registry import Registry
from dragon_train.embedded.real_music import real_tracks

SECONDS, TRACKS = 1, 24


class Deaf:
    """An encoder whose frames do not depend on what is heard: noise, seeded by a hash of the samples."""

    identity = "deaf-1"

    def encode_audio(self, audio: Tensor) -> Tensor:
        seeds = [int.from_bytes(sha256(clip.numpy().tobytes()).digest()[:6]) for clip in audio]
        drawn = [torch.randn(40, DIM, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(drawn)


def ear(kind: type, seed: int = 0, on_progress: Callable[[int], None] = lambda _: None) -> Ear:
    info = EncoderInfo("ear", frozenset({Modality.AUDIO}), DIM, RATE, "MIT", "for tests", kind)
    owner = PluginRecord("tests", "dragon-tests", "1.0")
    registry = Registry({"ear": info}, {}, {}, {("register_encoders", "ear"): owner}, (owner,), ())
    return Ear("ear", registry, CPU, seed, on_progress)


def tones(low: float, high: float, seed: int, count: int = TRACKS) -> list[Track]:
    """Tracks of a second of a tone of a drawn pitch in Hz, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(SECONDS * RATE) / RATE
    pitches = low + (high - low) * torch.rand(count, generator=generator)
    audio = [
        0.3 * (2 * torch.pi * pitch * time).sin() + 0.003 * torch.randn(len(time), generator=generator)
        for pitch in pitches
    ]
    return [Track(f"{seed}-{at}", each, RATE) for at, each in enumerate(audio)]


def test_an_encoder_of_spectra_tells_high_from_low_and_hears_that_what_is_high_is_gone() -> None:
    heard: list[int] = []
    found = hear(ear(Projection, on_progress=heard.append), tones(2500, 3500, 1), tones(200, 800, 2))
    assert found.auc > 0.95
    assert found.verdict is Verdict.HEARS
    assert found.between > 2 * found.within > 0
    assert found.low_pass > 5
    assert found.tracks == TRACKS
    assert sum(heard) == PASSES * TRACKS


def test_two_draws_of_one_kind_and_a_deaf_encoder_are_not_told_apart() -> None:
    same = hear(ear(Projection), tones(200, 800, 1), tones(200, 800, 2))
    deaf = hear(ear(Deaf), tones(200, 800, 1), tones(1500, 3000, 2))
    for found in (same, deaf):
        assert 0.3 < found.auc < 0.7
        assert found.verdict is Verdict.DOES_NOT
    assert max(abs(deaf.noise), abs(deaf.low_pass), abs(deaf.pitch_shift)) < 2  # of noise alone
    assert deaf.between == pytest.approx(deaf.within, rel=0.9)


def test_a_wide_set_is_farther_from_itself_than_a_narrow_one_in_its_midst() -> None:
    wide, narrow = tones(100, 3500, 1), tones(1600, 1700, 2)
    found = hear(ear(Projection), wide, narrow)
    assert found.auc < 0.5  # nothing else says so
    assert found.verdict in {Verdict.REVERSED, Verdict.DOES_NOT}


def test_the_auc_is_mann_and_whitneys_over_both_halves_and_the_draw_is_seeded() -> None:
    own, other, chosen = tones(200, 800, 1, 11), tones(600, 1200, 2, 10), ear(Projection, seed=3)
    found = hear(chosen, own, other)
    assert hear(ear(Projection, seed=3), own, other) == found
    assert hear(ear(Projection, seed=4), own, other) != found
    assert found.tracks == 10
    own = draw(own, 10, 3)
    frames, foreign = chosen.frames(own), chosen.frames(other)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(3)).tolist()
    ranks = []
    for kept, held_out in ((order[:5], order[5:]), (order[5:], order[:5])):
        reference = Gaussian.fit(torch.cat([frames[at] for at in kept]))
        near, far = per_song_fad([frames[at] for at in held_out], reference), per_song_fad(foreign, reference)
        ranks.append(mannwhitneyu(far.numpy(), near.numpy()).statistic / 50)
    assert found.auc == pytest.approx(sum(ranks) / 2, rel=1e-12)
    assert (found.low, found.high) == pytest.approx(
        (found.auc - 1.645 * standard_error(found.auc, 10), min(1, found.auc + 1.645 * standard_error(found.auc, 10)))
    )


@pytest.mark.slow
def test_clap_hears_airs_among_tunes_and_log_mel_does_not() -> None:
    airs, tunebook = real_tracks("airs"), real_tracks("tunebook")
    assert len(airs) == len(tunebook) == 48
    found = {
        name: hear(Ear(name, load_registry(), CPU, 0, lambda _: None), airs, tunebook) for name in ("clap", "logmel")
    }
    assert found["clap"].auc > 0.6
    assert found["clap"].verdict is Verdict.HEARS
    assert found["logmel"].verdict is Verdict.DOES_NOT
    assert all(each.noise > 0.2 and each.low_pass > 0.2 for each in found.values())


def test_noise_is_20_db_below_and_a_low_pass_keeps_what_is_low() -> None:
    time, generator = torch.arange(2 * 16_000) / 16_000, torch.Generator().manual_seed(0)
    low, high = (0.3 * (2 * torch.pi * pitch * time).sin() for pitch in (500, 6000))
    added = noisy(low, 16_000, generator) - low
    assert float(10 * (low.square().mean() / added.square().mean()).log10()) == pytest.approx(20, abs=0.2)
    middle = slice(4000, 28_000)  # the filter swings in at the ends
    assert (low_passed(low, 16_000, generator) - low)[middle].abs().max() < 0.003
    assert low_passed(high, 16_000, generator)[middle].abs().max() < 0.003


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_shifted_pitch_is_three_semitones_higher_and_lasts_as_long(rate: int) -> None:
    time = torch.arange(2 * rate) / rate
    audio = 0.3 * (2 * torch.pi * 440 * time).sin()
    shifted = pitch_shifted(audio, rate, torch.Generator())
    assert len(shifted) == len(audio)
    spectrum = torch.fft.rfft(shifted * torch.hann_window(len(shifted))).abs()
    assert float(spectrum.argmax()) / 2 == pytest.approx(440 * 2 ** (SEMITONES / 12), rel=0.01)
    middle = slice(rate // 2, 3 * rate // 2)
    assert float(shifted[middle].std()) == pytest.approx(float(audio.std()), rel=0.1)


def of(encoder: str, auc: float, error: float = 0.1) -> Hearing:
    return Hearing(encoder, auc, auc - error, auc + error, 1.0, 1.0, 0.0, 0.0, 0.0, 48)


def test_the_sentence_names_who_hears_who_does_not_and_who_is_misled() -> None:
    said = sentence([of("clap", 0.9), of("vae", 0.55), of("chroma", 0.45), of("logmel", 0.2)], "mine", "tunebook")
    assert said == (
        "clap (0.90) ranks tracks of 'mine' nearer to it than tracks of 'tunebook'; "
        "vae (0.55) and chroma (0.45) do not tell the two apart; "
        "logmel (0.20) ranks tracks of 'tunebook' nearer to 'mine' than its own, "
        "so that a reward by this distance would lead away from it."
    )
    assert sentence([of("vae", 0.5)], "mine", "tunebook") == "vae (0.50) does not tell the two apart."
    assert sentence([of("a", 0.9), of("b", 0.8), of("c", 0.7)], "x", "y").startswith(
        "a (0.90), b (0.80) and c (0.70) rank "
    )


def test_too_few_tracks_and_tracks_too_short_for_the_encoder_are_refused() -> None:
    with pytest.raises(TooFewClipsError, match=r"'mine' has 7 tracks, and at least 8 are needed"):
        check_count("mine", 7)
    short = [Track(track.name, track.audio[:90], RATE) for track in tones(200, 800, 1, 8)]
    with pytest.raises(DragonError, match=r"encoder 'ear' cannot be judged by these tracks: .* 1 frame"):
        hear(ear(Projection), short, short)
