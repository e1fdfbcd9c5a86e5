"""Rewards whose encoder is the pipeline's own autoencoder read latents, and what people would hear is still judged."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from diffusers import StableAudioPipeline
from scipy.stats import spearmanr
from support.pipelines import build
from torch import Tensor

from dragon_rewards import EncoderInfo, LatentEncoder, Modality, compose
from dragon_rewards.embedded.autoencoder import VaeEncoder, load_encoder
from dragon_rewards.errors import EncoderError
from dragon_rewards.media.media import Encoded
from dragon_rewards.mixture import compose_mixture
from dragon_rewards.protocols import LATENTS_KEPT
from dragon_rewards.registry import load_registry
from dragon_train.config import TrainConfig
from dragon_train.embedded.pipeline import load_policy
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.loop import train
from dragon_train.loop.rollout import clips_for, latent_encoder
from dragon_train.loop.run_folder import CONFIG as CONFIG_FILE
from dragon_train.objectives.configured import completed, make_objective
from dragon_train.pipelines.recorded import RecordedPolicy
from dragon_train.pipelines.stable_audio import StableAudioPolicy
from dragon_train.protocols import LatentPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")  # of the tiny pipeline's autoencoder

CPU = torch.device("cpu")
CONFIG = TrainConfig("per-song-fad:vae@tunebook", steps=1, prompts_per_step=4, demonstration_steps=2, epochs=1)
CLIPS = 2 * CONFIG.prompts_per_step  # of a step
TEXTS = prompts("watch")


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever weights ship: the encoder's word for it that they keep latents."""
    monkeypatch.setattr(VaeEncoder, "keeps_latents", True)


@pytest.fixture
def passes(policy: StableAudioPolicy, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The clips that the pipeline decodes and the encoder `vae` encodes from here on."""
    counts: Counter[str] = Counter()

    def watch(owner: Any, name: str) -> None:
        plain: Callable[[Tensor], Any] = getattr(owner, name)

        def counted(clips: Tensor) -> Any:
            counts[name] += len(clips)
            return plain(clips)

        monkeypatch.setattr(owner, name, counted)

    encoder: Any = load_registry().build_encoder("vae")
    watch(policy.pipeline.vae, "decode")
    watch(encoder.autoencoder, "encode")
    return counts


def run(config: TrainConfig, policy: StableAudioPolicy, out: Path) -> dict[str, float]:
    """Train for a step; returns its figures."""
    rows: list[dict[str, float]] = []
    config, heldout = completed(config), TEXTS[: config.heldout_prompts]
    reward, objective = compose_mixture(config.reward), make_objective(config)
    train(config, policy, reward, objective, prompts("train"), out, rows.append, heldout)
    return rows[0]


def read_from_latents(out: Path) -> list[str]:
    names: list[str] = json.loads((out / CONFIG_FILE).read_text(encoding="utf-8"))["provenance"]["read_from_latents"]
    return names


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("objective", ["dpo", "direct"])
def test_a_step_toward_latents_neither_decodes_nor_encodes(
    objective: str, policy: StableAudioPolicy, passes: Counter[str], tmp_path: Path
) -> None:
    row = run(replace(CONFIG, objective=objective), policy, tmp_path)
    assert not passes
    assert row["gradient_norm"] > 0
    assert row["vendi"] > 1
    assert read_from_latents(tmp_path) == ["vae"]


def test_a_codec_that_loses_latents_is_heard(
    policy: StableAudioPolicy, passes: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VaeEncoder, "keeps_latents", False)
    run(CONFIG, policy, tmp_path)
    assert passes == {"decode": CLIPS, "encode": CLIPS}
    assert read_from_latents(tmp_path) == []


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize(
    ("settings", "decoded", "encoded"),
    [
        ({"reward": f"{CONFIG.reward} + 0.5 * vendi:logmel"}, CLIPS, 0),
        ({"at_least": ("vendi:logmel",)}, CLIPS + CONFIG.prompts_per_step, 0),  # the untuned model's set, for the level
        ({"heldout": ("vendi:logmel",), "heldout_prompts": 4}, 2 * 4, 2 * 4),  # the untuned model's and the policy's
    ],
    ids=["a mixture", "a constraint", "held-out clips"],
)
def test_what_else_hears_has_its_audio(
    settings: dict[str, Any],
    decoded: int,
    encoded: int,
    policy: StableAudioPolicy,
    passes: Counter[str],
    tmp_path: Path,
) -> None:
    run(replace(CONFIG, **settings), policy, tmp_path)
    assert (passes["decode"], passes["encode"]) == (decoded, encoded)
    assert read_from_latents(tmp_path) == ["vae"]


def compared(policy: StableAudioPolicy, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The latents of samples, and their frames as read from latents and as heard."""
    encoder = load_encoder()
    latents = policy.sample(TEXTS[:count], range(count), policy.steps, policy.guidance)
    heard = torch.cat([encoder.encode_audio(policy.decode(part)[:, 0]) for part in latents.split(policy.batch)])
    return latents, encoder.latent_frames(latents), heard


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def test_what_the_weights_say_of_themselves_holds_for_samples(frozen_policy: StableAudioPolicy) -> None:
    """Frames of latents and of the decoded audio; tolerance 0.03, as the recorded correlation is of real music."""
    encoder = load_encoder()
    _, read, heard = compared(frozen_policy, 8)
    assert read.shape == heard.shape == (8, 160, 64)
    found = correlation(read, heard)
    assert found == pytest.approx(encoder.autoencoder.config.cycle_correlation, abs=0.03)
    assert encoder.keeps_latents
    assert found >= LATENTS_KEPT


@pytest.mark.slow
def test_latents_and_audio_order_samples_alike(frozen_policy: StableAudioPolicy) -> None:
    """96 samples in the pipeline's own steps, by per-song FAD."""
    reward, texts = compose(CONFIG.reward), TEXTS[:96]
    latents, read, heard = compared(frozen_policy, 96)
    by_latents = reward.value(clips_for([reward], frozen_policy, latents, texts))
    by_audio = reward.value(frozen_policy.clips(latents, texts))
    assert spearmanr(by_latents, by_audio).statistic >= 0.98
    assert correlation(read, heard) >= LATENTS_KEPT


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("batch", [1, 3, 4])
def test_frames_do_not_depend_on_the_batch(batch: int, frozen_policy: StableAudioPolicy) -> None:
    latents = torch.randn(4, 128, 6, generator=torch.Generator().manual_seed(0))
    reward, encoder = compose(CONFIG.reward), load_encoder()
    parts = [clips_for([reward], frozen_policy, part, TEXTS[: len(part)]) for part in latents.split(batch)]
    frames = Encoded.concatenate(parts).known.frames["vae"]
    assert all(clip.is_contiguous() for clip in frames)  # as of encoded clips
    assert torch.equal(torch.stack(frames), encoder.latent_frames(latents))
    assert frames[0].shape == (12, 64)


@pytest.mark.usefixtures("reading")
def test_gradients_go_straight_to_the_latents(frozen_policy: StableAudioPolicy) -> None:
    """Against central differences of the reward along random directions, in float32: relative tolerance 2e-2."""
    generator = torch.Generator().manual_seed(0)
    reward = compose(CONFIG.reward)
    latents = torch.randn(2, 128, 80, generator=generator)

    def value(at: Tensor) -> Tensor:
        return reward.value(clips_for([reward], frozen_policy, at, TEXTS[:2])).sum()

    learning = latents.clone().requires_grad_()
    value(learning).backward()
    assert learning.grad is not None
    for _ in range(3):
        direction = torch.randn(latents.shape, generator=generator) * learning.grad.abs()
        step = 0.02 / float(direction.std())
        expected = (value(latents + step * direction) - value(latents - step * direction)) / (2 * step)
        assert float((learning.grad * direction).sum()) == pytest.approx(float(expected), rel=2e-2)


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("weight", ["code_mean", "decoder.0.bias"])
def test_latents_of_another_model_are_decoded(weight: str, policy: StableAudioPolicy, passes: Counter[str]) -> None:
    """The decoder counts, too: by it another model could lose what this one keeps."""
    reward = compose(CONFIG.reward)
    latents = policy.sample(TEXTS[:2], [0, 1], 2, 1.0)
    policy.pipeline.vae.state_dict()[weight][0] += 1e-3
    assert latent_encoder(reward, policy, CPU) is None
    assert reward.value(clips_for([reward], policy, latents, TEXTS[:2])).shape == (2,)
    assert passes == {"decode": 2, "encode": 2}


@pytest.mark.usefixtures("reading")
def test_the_same_weights_are_known_wherever_they_come_from(policy: StableAudioPolicy, tmp_path: Path) -> None:
    encoder = load_encoder()
    policy.pipeline.save_pretrained(tmp_path)
    saved = StableAudioPolicy(StableAudioPipeline.from_pretrained(tmp_path))
    assert policy.decodes_by(encoder.autoencoder)
    assert saved.decodes_by(encoder.autoencoder)
    saved.pipeline.vae.half()  # rounds what it decodes
    assert not saved.decodes_by(encoder.autoencoder)
    assert not StableAudioPolicy(build("stable-audio")).decodes_by(encoder.autoencoder)


@pytest.mark.usefixtures("reading")
def test_latents_that_are_not_finite_are_refused(frozen_policy: StableAudioPolicy) -> None:
    latents = torch.full((2, 128, 4), torch.nan)
    with pytest.raises(EncoderError, match=r"encoder 'vae' returned .*latents"):
        clips_for([compose(CONFIG.reward)], frozen_policy, latents, TEXTS[:2])


class OobleckEncoder:
    """The autoencoder of a Stable Audio pipeline as an encoder, as a plugin would register it."""

    keeps_latents = True

    def __init__(self, pipeline: Any) -> None:
        self.autoencoder, self.identity = pipeline.vae, "oobleck-1"

    def encode_audio(self, audio: Tensor) -> Tensor:
        stereo = audio[:, None].expand(-1, 2, -1)
        return self.latent_frames(self.autoencoder.encode(stereo).latent_dist.mode())

    def latent_frames(self, latents: Tensor) -> Tensor:
        return latents.transpose(1, 2)


def test_the_autoencoder_of_a_stable_audio_pipeline_reads_its_latents_too() -> None:
    info = EncoderInfo(
        "oobleck", frozenset({Modality.AUDIO}), 4, 4000, "MIT", "tries", lambda: OobleckEncoder(build("stable-audio"))
    )
    known = load_registry()
    owners = {**known.owners, ("register_encoders", "oobleck"): known.owners["register_encoders", "vae"]}
    registry = replace(known, encoders={**known.encoders, "oobleck": info}, owners=owners, _built={})
    reward, policy = compose("vendi:oobleck", registry), StableAudioPolicy(build("stable-audio"))
    assert isinstance(registry.build_encoder("oobleck"), LatentEncoder)
    latents = policy.sample(["a jig", "an air"], [0, 1], 2, 1.0)
    clips = clips_for([reward], policy, latents, ["a jig", "an air"])
    assert isinstance(clips, Encoded)
    assert torch.equal(torch.stack(clips.known.frames["oobleck"]), latents.transpose(1, 2))
    assert 1 < float(reward.value(clips)) <= 2
    other = StableAudioPolicy(build("stable-audio", seed=1))
    assert latent_encoder(reward, other, CPU) is None


def test_a_policy_need_not_say_whose_latents_it_samples(frozen_policy: StableAudioPolicy, reading: None) -> None:
    del reading
    silent = RecordedPolicy(frozen_policy.pipeline, frozen_policy.noise)
    assert isinstance(frozen_policy, LatentPolicy)
    assert not isinstance(silent, LatentPolicy)
    assert latent_encoder(compose(CONFIG.reward), silent, CPU) is None  # type: ignore[arg-type]
    assert latent_encoder(compose("vendi:logmel"), load_policy(), CPU) is None
