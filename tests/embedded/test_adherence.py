"""What prompts name is read back from the grammar that made them; the probe hears what the pipeline was asked for."""

from __future__ import annotations

import random
import runpy
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dragon_rewards import Clips
from dragon_rewards.errors import DragonError
from dragon_train.embedded import adherence as adhering
from dragon_train.embedded.adherence import FILE, Probe, adherence, features
from dragon_train.embedded.pipeline import load_policy
from dragon_train.embedded.words import ATTRIBUTES, WORDS, named, phrases
from dragon_train.loop.rollout import generate

CAPTIONS = runpy.run_path(str(Path(__file__).parents[2] / "reports" / "embedded" / "captions.py"))


def note(pitch: float, seconds: float) -> torch.Tensor:
    """A sine at 16 kHz, (samples,)."""
    return 0.3 * torch.sin(2 * torch.pi * pitch * torch.arange(round(16_000 * seconds)) / 16_000)


def test_a_word_stands_for_one_value_of_one_attribute() -> None:
    counts = Counter(phrase for name in ATTRIBUTES for group in WORDS[name].values() for phrase in group)
    assert set(counts.values()) == {1}
    assert "traditional" not in counts  # of the collections, which share it


@pytest.mark.parametrize("family", CAPTIONS["PHRASINGS"])
@settings(deadline=None)
@given(
    attributes=st.fixed_dictionaries({name: st.sampled_from(sorted(values)) for name, values in WORDS.items()}),
    seed=st.integers(0, 10**6),
)
def test_captions_are_read_back(family: str, attributes: dict[str, str], seed: int) -> None:
    for phrasing in CAPTIONS["PHRASINGS"][family]:
        asked = CAPTIONS["named"](phrasing) - {"collection"}
        caption = CAPTIONS["describe"](attributes, random.Random(seed), [phrasing])
        assert named(caption) == {name: attributes[name] for name in asked}


def test_prompts_of_others_are_read_as_far_as_they_go() -> None:
    assert named("A SLOW piece, then a fast one, for Violin") == {"instrument": "fiddle"}
    assert named("organic food below the highway") == {}
    assert phrases("form")["slip jig"] == "slip jig"


@pytest.fixture(scope="module")
def probe() -> Probe:
    return Probe.load()


def test_the_probe_hears_the_instrument_that_was_asked_for(probe: Probe) -> None:
    """Nearly all of these by the weights that ship; a tenth where each is judged by its neighbour's prompt."""
    prompts = [f"a steady reel on the {words[0]}" for words in WORDS["instrument"].values()]
    made = generate(load_policy(), prompts, range(len(prompts)), 8, 1.0)
    assert isinstance(made.clips, Clips)
    shares = adherence(made.clips, probe)
    assert list(shares) == ["instrument", "form", "tempo"]
    assert shares["instrument"] >= 0.7
    moved = Clips(made.clips.audio, 16_000, [*prompts[1:], prompts[0]])
    assert adherence(moved, probe)["instrument"] <= 0.3


def test_faster_notes_move_the_spectrum_of_onsets() -> None:
    """Clicks twice and four times a second: the first peak of 64 bins, each 31.25 / 256 Hz wide."""
    audio = torch.zeros(2, 81_920)
    for clip, rate in enumerate((2, 4)):
        for start in range(0, 80_000, 16_000 // rate):
            audio[clip, start : start + 1600] = note(440.0, 0.1)
    spectrum = features(Clips(audio, 16_000))[:, 128:192]
    for clip, rate in enumerate((2, 4)):
        assert int(spectrum[clip].argmax()) * 31.25 / 256 == pytest.approx(rate, abs=0.15)


def test_pitch_classes_are_counted_from_the_strongest(probe: Probe) -> None:
    """A fifth above a louder note is the seventh class, whatever the key."""
    chords = [note(pitch, 1.0) + 0.5 * note(pitch * 2 ** (7 / 12), 1.0) for pitch in (880.0, 1046.5, 1396.9)]
    seen = features(Clips(torch.stack(chords), 16_000))
    assert seen.shape == (3, len(probe.mean))
    assert (seen[:, -12:].topk(2).indices == torch.tensor([0, 7])).all()


def test_the_most_likely_value_is_found(probe: Probe) -> None:
    x = torch.randn(50, len(probe.mean), generator=torch.Generator().manual_seed(0))
    found = probe.found(x * probe.deviation + probe.mean)
    for name, values in WORDS.items():
        if name in ATTRIBUTES:
            scores = x.double() @ probe.weight[name].double().T + probe.bias[name].double()
            assert found[name] == [list(values)[row] for row in scores.argmax(1).tolist()]


def test_a_probe_is_stored_and_refused_by_name(probe: Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "adherence.safetensors"
    probe.save(path)
    assert path.read_bytes() == FILE.read_bytes()
    cut = dict(probe.weight) | {"mode": probe.weight["mode"][:1]}
    Probe(probe.mean, probe.deviation, cut, probe.bias).save(path)
    with pytest.raises(DragonError, match=r"adherence\.safetensors.*'mode weight'"):
        Probe.load(path)
    monkeypatch.setattr(adhering, "identities", lambda: {"logmel": "another"})
    with pytest.raises(DragonError, match=r"adherence\.safetensors.*another"):
        Probe.load(FILE)
