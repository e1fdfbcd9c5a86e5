"""Training of `spr` on a few sounds: loss, target network, going on where it was broken off, and the control."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file
from support.sounds import tune

from dragon_rewards.compute.devices import CPU
from dragon_rewards.embedded.spr import EmbeddedSpr
from dragon_rewards.testing.sounds import sounds

sys.path.insert(0, str(Path(__file__).parents[2] / "reports" / "embedded"))
import train_spr
from train_spr import AHEAD, FRAMES, SelfPrediction, spread, step_loss
from training import Fit, Job

if TYPE_CHECKING:
    from torch import Tensor

PLACES = FRAMES // 4


@pytest.fixture(scope="module")
def log_mel() -> Tensor:
    """Log-mel frames of eight sounds, (8, 64, 184)."""
    clips = (32767 * sounds(8, 16_000, 3.0)).short()
    return train_spr.log_mels(EmbeddedSpr(), clips)


def job(folder: Path, steps: int) -> Job:
    return Job(folder, folder, folder / "state", folder, CPU, steps, 0.0, 8, 1e-2)


def trained(folder: Path, log_mel: Tensor, steps: int, *, control: bool = False) -> SelfPrediction:
    """A model after so many steps of a schedule of as many; the folder may hold the state of fewer."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    model = SelfPrediction(control=control)
    train_spr.fitted(model, log_mel, train_spr.middle(log_mel), job(folder, steps))
    return model


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_loss_is_of_the_frames_that_follow_each_origin(log_mel: Tensor) -> None:
    """The equations, one origin and one step after the other, in float64; tolerance 1e-9."""
    torch.manual_seed(0)
    model = SelfPrediction().double().eval()
    mel = train_spr.middle(log_mel).double()
    origins = torch.tensor([[0, 7], [3, PLACES - AHEAD - 1]])
    online, target = mel[:2], mel[2:4]
    encoder, projection = model.target
    states, ahead = [], []
    with torch.no_grad():
        embedded, projected = model.encoder(online), projection(encoder(target))
        for clip, places in enumerate(origins.tolist()):
            for place in places:
                states.append(embedded[clip, place])
                for step in range(1, AHEAD + 1):
                    states.append(model.transition(embedded[clip, place][None], states[-1][None])[0])
                    ahead.append(projected[clip, place + step])
        made = torch.stack([state for at, state in enumerate(states) if at % (AHEAD + 1)])
        vectors = zip(model.prediction(model.projection(made)), ahead, strict=True)
        losses = [2 - 2 * (a @ b) / (a.norm() * b.norm()) for a, b in vectors]
        assert model.loss(online, target, origins).sub(torch.stack(losses).mean()).abs() < 1e-9


def test_only_the_online_network_learns_and_the_target_follows_it(log_mel: Tensor) -> None:
    torch.manual_seed(0)
    model = SelfPrediction()
    step_loss(model, log_mel, 4, generator()).backward()
    assert all(p.grad is None for p in model.target.parameters())
    assert all(p.grad is not None for n, p in model.named_parameters() if not n.startswith("target."))
    with torch.no_grad():
        for parameter in model.projection.parameters():
            parameter.add_(1)
    before = [p.clone() for p in model.target[1].parameters()]
    model.follow()
    for old, new in zip(before, model.target[1].parameters(), strict=True):
        assert torch.allclose(new - old, torch.full_like(old, 1 - train_spr.TARGET), atol=1e-6)


def test_augmentations_are_a_gain_a_shift_and_a_dropped_run_of_bands() -> None:
    """On a ramp over time that is the same in every band, each can be read off."""
    ramp = torch.arange(FRAMES + 2 * train_spr.SHIFT).expand(256, 64, -1).float()
    made = train_spr.augmented(ramp, generator())
    dropped = (made == train_spr.SILENCE).all(-1)
    assert set(dropped.sum(1).tolist()) == set(range(train_spr.BANDS + 1))
    for band, first in zip(dropped, made.max(1).values[:, 0], strict=True):
        assert (band.long().diff(prepend=torch.zeros(1).long()) == 1).sum() <= 1  # one run
        assert -train_spr.GAIN / 20 <= first <= 2 * train_spr.SHIFT + train_spr.GAIN / 20
    heard = made.masked_fill(dropped[..., None], -torch.inf).max(1).values
    assert torch.allclose(heard.diff(dim=1), torch.ones(256, FRAMES - 1), atol=1e-4)


def test_shuffled_clips_keep_their_fours(log_mel: Tensor) -> None:
    mel = train_spr.middle(log_mel)
    made = train_spr.shuffled(mel, generator())
    fours = [{tuple(four.flatten().tolist()) for four in clips[0].split(4, dim=1)} for clips in (mel, made)]
    assert fours[0] == fours[1]
    assert not torch.equal(mel, made)


def test_a_copy_has_no_skill_and_perfect_prediction_has_all(log_mel: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    mel, model = train_spr.middle(log_mel), SelfPrediction()
    target = model.targets(mel)
    monkeypatch.setattr(model, "predicted", lambda _, places: train_spr.ahead_of(target, places))
    assert train_spr.skill(model, mel)["skill"] == 1
    copied = target[:, : PLACES - AHEAD, None].expand(-1, -1, AHEAD, -1)
    monkeypatch.setattr(model, "predicted", lambda _, places: copied[:, : places.shape[1]])
    assert train_spr.skill(model, mel)["skill"] == 0


def test_spread_is_of_unit_vectors() -> None:
    """Uniform on the sphere in 64 dimensions: deviation 1/8 and nearly full rank; a point: neither."""
    drawn = torch.randn(20_000, 64, generator=generator())
    scattered = spread(drawn)
    assert scattered["std"] == pytest.approx(1 / 8, rel=0.01)
    assert scattered["effective_rank"] > 63
    assert spread(drawn[:1].expand(100, -1))["std"] < 1e-6
    line = torch.randn(2000, 1, generator=generator()).sign() * drawn[:1]
    assert spread(line)["effective_rank"] == pytest.approx(1, abs=0.1)


def test_training_that_was_broken_off_goes_on_to_the_same_bits(log_mel: Tensor, tmp_path: Path) -> None:
    """The schedule is of four steps in both; the first is stopped after two."""
    whole = trained(tmp_path / "whole", log_mel, 4)
    folder = tmp_path / "parts"
    folder.mkdir()
    torch.manual_seed(0)
    model = SelfPrediction()
    fit = Fit("spr", model, job(folder, 4), 0.998, train_spr.SEED)
    for _ in zip(range(2), fit, strict=False):
        fit.step(step_loss(model, log_mel, 8, fit.generator))
        model.follow()
    fit._save()
    again = trained(folder, log_mel, 4)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


@pytest.mark.slow
def test_the_control_collapses_and_the_method_does_not(tmp_path: Path) -> None:
    """Tunes of notes that are drawn: what does not change is what is predicted best."""
    tunes = torch.stack([tune(seed) for seed in range(16)])
    log_mel = train_spr.log_mels(EmbeddedSpr(), (32767 * tunes).short())
    models = [trained(tmp_path / str(control), log_mel, 60, control=control) for control in (True, False)]
    control, model = (train_spr.judged(each, train_spr.middle(log_mel))["std"] for each in models)
    assert control < 0.02
    assert model > 0.08


def test_the_script_writes_weights_that_the_encoder_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = (32767 * sounds(8, 16_000, 3.0)).short()
    monkeypatch.setattr(train_spr, "load_clips", lambda *_: clips)
    train_spr.main(replace(job(tmp_path, 2), batch=4), 6, control=False)
    stored = load_file(tmp_path / "model.safetensors")
    EmbeddedSpr().load_state_dict(stored)
    assert '"clips": 6' in (tmp_path / "spr.json").read_text()
