"""What a model has beside its reward: figures of real generations, latents of real clips, and the table over models."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pandas as pd
import pytest
import torch
from support.tiny import tiny_policy

from dragon_rewards import Clips, compose
from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation.score_tables import BASELINE
from dragon_train.bench import collateral
from dragon_train.bench.collateral import DENOISING, denoising_error, figures_of, measure, write_collateral
from dragon_train.bench.judges import SECONDS
from dragon_train.bench.result_files import CONFOUNDERS, FIGURES, JUDGEMENTS
from dragon_train.embedded.real_music import RealLatents, autoencoder_identity, fitting_latents
from dragon_train.loop.rollout import generate
from dragon_train.pipelines.stable_audio import StableAudioPolicy

PROMPTS = ("a slow hymn on the organ", "a jig on the fiddle, flowing", "a sad waltz for flute")


@pytest.fixture(scope="module")
def latents(frozen_policy: StableAudioPolicy) -> RealLatents:
    made = frozen_policy.sample(PROMPTS, range(3), 4, 1.0)
    return RealLatents(made, PROMPTS, autoencoder_identity())


def test_the_denoising_error_is_the_loss_of_training_with_the_same_noise_for_all(
    frozen_policy: StableAudioPolicy, latents: RealLatents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the batch, to 1e-5; by EDM's denoiser D (arXiv 2206.00364): lambda(sigma) |D - x|^2 to 1e-4."""
    found = denoising_error(frozen_policy, latents.latents, PROMPTS)
    assert found == denoising_error(frozen_policy, latents.latents, PROMPTS)
    monkeypatch.setattr(frozen_policy, "batch", 2)
    assert denoising_error(frozen_policy, latents.latents, PROMPTS) == pytest.approx(found, rel=1e-5)
    generator, scheduler = torch.Generator().manual_seed(collateral.SEED), frozen_policy.pipeline.scheduler
    condition, errors = frozen_policy.condition(PROMPTS), []
    for _ in range(collateral.DRAWS):
        draw = frozen_policy.draw(latents.latents, generator)
        sigma, data = draw.level[:, None, None], scheduler.config.sigma_data
        noisy = latents.latents + sigma * draw.noise
        asked = noisy / (sigma**2 + data**2).sqrt()
        with torch.no_grad():
            answer = frozen_policy.denoiser(asked, scheduler.precondition_noise(draw.level), **condition)[0]
        denoised = scheduler.precondition_outputs(noisy, answer, sigma)
        weight = (sigma**2 + data**2) / (sigma * data) ** 2
        errors.append((weight * (denoised - latents.latents) ** 2).mean())
    assert found == pytest.approx(float(torch.stack(errors).mean()), rel=1e-4)


def test_a_damaged_denoiser_has_a_larger_error(policy: StableAudioPolicy, latents: RealLatents) -> None:
    before = denoising_error(policy, latents.latents, PROMPTS)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.denoiser.parameters():
            parameter.add_(0.3 * parameter.std() * torch.randn(parameter.shape, generator=generator))
    assert denoising_error(policy, latents.latents, PROMPTS) > before


def test_figures_of_the_embedded_pipeline(
    frozen_policy: StableAudioPolicy, latents: RealLatents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collateral, "fitting_latents", lambda: latents)
    clips = generate(frozen_policy, PROMPTS, range(3), 4, 1.0).clips
    assert isinstance(clips, Clips)
    measure(tmp_path, frozen_policy, "embedded", clips)
    figures = json.loads((tmp_path / FIGURES).read_text())
    assert list(figures) == [
        *("instrument", "form", "tempo", "mode", "density"),
        *("fad_logmel", "fad_chroma", "vendi", DENOISING),
    ]
    assert figures["vendi"] == pytest.approx(float(compose("vendi:clap").metric(clips)))
    assert figures["fad_chroma"] == pytest.approx(float(compose("dataset-fad:chroma@tunebook").metric(clips)))
    assert figures[DENOISING] == denoising_error(frozen_policy, latents.latents, PROMPTS)
    monkeypatch.setattr(collateral, "fitting_latents", lambda: None)
    assert DENOISING not in figures_of(frozen_policy, "embedded", clips)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")  # of diffusers
def test_of_other_pipelines_only_variety_is_known() -> None:
    clips = Clips(0.1 * torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0)), 16_000, PROMPTS)
    assert list(figures_of(tiny_policy("stable-audio"), "stable-audio-open", clips)) == ["vendi"]


def test_too_few_clips_have_no_figures(
    frozen_policy: StableAudioPolicy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        measure(tmp_path, frozen_policy, "other", Clips(torch.ones(1, 16_000), 16_000))
    assert not (tmp_path / FIGURES).exists()
    assert "no collateral: 'vendi:clap' judges at least 2 clips" in caplog.messages[0]


def test_latents_are_kept_in_half_precision_with_their_captions(latents: RealLatents, tmp_path: Path) -> None:
    path = tmp_path / "latents.safetensors"
    latents.save(path)
    found = fitting_latents(path)
    assert found is not None
    assert torch.equal(found.latents, latents.latents.half().float())
    assert (found.captions, found.autoencoder) == (PROMPTS, autoencoder_identity())


def test_latents_of_another_autoencoder_are_left_out_with_a_warning(
    latents: RealLatents, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "latents.safetensors"
    RealLatents(latents.latents, PROMPTS, "vae-of-old").save(path)
    with caplog.at_level(logging.WARNING):
        assert fitting_latents(path) is None
        assert fitting_latents(tmp_path / "none.safetensors") is None
    assert "latents.safetensors' is of autoencoder vae-of-old" in caplog.messages[0]
    assert "none.safetensors' is not there" in caplog.messages[1]


def test_latents_without_their_captions_are_refused(latents: RealLatents, tmp_path: Path) -> None:
    RealLatents(latents.latents, PROMPTS[:2], "vae").save(tmp_path / "latents.safetensors")
    with pytest.raises(DragonError, match=r"latents\.safetensors' has 2 captions of 3 clips"):
        RealLatents.load(tmp_path / "latents.safetensors")


def model(folder: Path, run: str, figures: dict[str, float], judged: float) -> Path:
    """The files of a model that was measured: two clips."""
    folder.mkdir()
    (folder / FIGURES).write_text(json.dumps(figures))
    clips = pd.DataFrame([{"run": run, "prompt_id": f"p{row}", "seed": row} for row in range(2)])
    clips.assign(duration=5.0, loudness=[-20.0, -22.0], silence=[0.0, 0.5]).to_parquet(folder / CONFOUNDERS)
    said = clips.assign(model="embedded", reward="per-song-fad:logmel@airs", value=[judged, judged + 1])
    said.assign(**{SECONDS: 1.0}).to_parquet(folder / JUDGEMENTS)
    return folder


def test_the_table_has_a_row_for_each_model_the_untuned_first(tmp_path: Path) -> None:
    folders = {
        BASELINE: model(tmp_path / "a", BASELINE, {"instrument": 0.5, "vendi": 3.0}, 7.0),
        "vendi:clap": model(tmp_path / "b", "vendi:clap", {"instrument": 0.25, "vendi": 4.0}, 9.0),
    }
    table = write_collateral(tmp_path, folders)
    assert table is not None
    assert table.to_dict("list") == {
        "run": [BASELINE, "vendi:clap"],
        "instrument": [0.5, 0.25],
        "vendi": [3.0, 4.0],
        "silence": [0.25, 0.25],
        "loudness": [-21.0, -21.0],
        "logmel_airs": [7.5, 9.5],
    }
    assert pd.read_csv(tmp_path / "collateral.csv").equals(table)
    (tmp_path / "b" / JUDGEMENTS).unlink()
    unjudged = write_collateral(tmp_path, folders)
    assert unjudged is not None
    assert "logmel_airs" not in unjudged
    (tmp_path / "b" / FIGURES).unlink()
    assert write_collateral(tmp_path, folders) is None
