"""Register the trainer's own pipelines, adapters and objectives, through the same hooks that plugins use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dragon_train.descriptors import IN_FULL, AdapterInfo, Loading, ObjectiveInfo, PipelineInfo
from dragon_train.hookspecs import hookimpl
from dragon_train.models import models
from dragon_train.objective_options import (
    DirectOptions,
    DNOOptions,
    GRPOOptions,
    NFTOptions,
    OrderOptions,
    PRDPOptions,
    PreferenceOptions,
    RAFTOptions,
)
from dragon_train.pipelines.columns import ACE_STEP, LONGCAT_AUDIO, SPECTROGRAM, STABLE_AUDIO, STABLE_AUDIO_3

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_train.protocols import Policy


def embedded(loading: Loading = IN_FULL) -> Policy:
    """Build the policy of the embedded pipeline."""
    from dragon_train.embedded.pipeline import load_policy

    return load_policy(loading)


def lazily(module: str, name: str) -> Callable[[Any], Any]:
    """Return a function that calls `name` of a module of the trainer, which is imported at the first call.

    Listing what is registered then imports neither torch nor diffusers.
    """

    def call(argument: Any) -> Any:
        return getattr(import_module(f"dragon_train.{module}"), name)(argument)

    return call


ADAPTERS = (
    AdapterInfo(
        "stable-audio",
        "StableAudioPipeline",
        "EDM preconditioning, v-prediction",
        lazily("pipelines.stable_audio", "StableAudioPolicy"),
        STABLE_AUDIO,
    ),
    AdapterInfo(
        "stable-audio-3",
        "StableAudio3Pipeline",
        "rectified flow",
        lazily("pipelines.stable_audio_3", "StableAudio3Policy"),
        STABLE_AUDIO_3,
    ),
    AdapterInfo(
        "ace-step",
        "AceStepPipeline",
        "flow matching, base and turbo checkpoints",
        lazily("pipelines.ace_step", "AceStepPolicy"),
        ACE_STEP,
    ),
    AdapterInfo(
        "longcat-audio",
        "LongCatAudioDiTPipeline",
        "flow matching",
        lazily("pipelines.longcat_audio", "LongCatAudioPolicy"),
        LONGCAT_AUDIO,
    ),
    AdapterInfo(
        "audioldm2",
        "AudioLDM2Pipeline",
        "DDPM on mel spectra",
        lazily("pipelines.spectrogram", "AudioLDM2Policy"),
        SPECTROGRAM,
    ),
    AdapterInfo(
        "audioldm",
        "AudioLDMPipeline",
        "DDPM on mel spectra; deprecated by diffusers",
        lazily("pipelines.spectrogram", "AudioLDMPolicy"),
        SPECTROGRAM,
    ),
    AdapterInfo(
        "musicldm",
        "MusicLDMPipeline",
        "DDPM on mel spectra; deprecated by diffusers",
        lazily("pipelines.spectrogram", "MusicLDMPolicy"),
        SPECTROGRAM,
    ),
    AdapterInfo(
        "masked-audio",
        "MaskedAudioPipeline",
        "masked diffusion over tokens of latents",
        lazily("pipelines.masked_audio", "MaskedAudioPolicy"),
        STABLE_AUDIO,
        module="dragon_train.masked.pipeline",
        components=(
            "dragon_train.masked.codebook.ProductCodebook",
            "dragon_train.masked.scheduler.MaskedScheduler",
            "dragon_train.masked.transformer.MaskedAudioTransformer",
            "dragon_rewards.embedded.autoencoder.SpectralAutoencoder",
        ),
    ),
)

OBJECTIVES = (
    ObjectiveInfo(
        "dpo",
        "Diffusion-DPO, winners against losers of the same prompt",
        lazily("objectives.preference", "dpo"),
        paired_only=True,
        options=PreferenceOptions,
    ),
    ObjectiveInfo(
        "kto",
        "Diffusion-KTO, each clip against a common reference point",
        lazily("objectives.preference", "kto"),
        options=PreferenceOptions,
    ),
    ObjectiveInfo(
        "raft",
        "RAFT, the best of several samples of each prompt as if they were data",
        lazily("objectives.raft", "raft"),
        options=RAFTOptions,
    ),
    ObjectiveInfo(
        "direct",
        "DRaFT, gradient of a differentiable reward through the last sampling steps",
        lazily("objectives.direct", "direct"),
        options=DirectOptions,
    ),
    ObjectiveInfo(
        "nft",
        "DiffusionNFT, toward good clips of a group and away from bad ones; its form awm weighs denoising errors",
        lazily("objectives.nft", "nft"),
        options=NFTOptions,
    ),
    ObjectiveInfo(
        "order",
        "Order-preserving, the order of a group as of Plackett-Luce; dpo for two clips",
        lazily("objectives.order", "order"),
        options=OrderOptions,
    ),
    ObjectiveInfo(
        "dno",
        "Direct Nash Optimization, a jury's best clip of a group against its worst, in rounds",
        lazily("objectives.dno", "dno"),
        options=DNOOptions,
    ),
    ObjectiveInfo(
        "grpo",
        "Flow-GRPO in a window of steps, trajectories of good clips likelier than they were",
        lazily("objectives.grpo", "grpo"),
        options=GRPOOptions,
    ),
    ObjectiveInfo(
        "prdp",
        "PRDP, log-ratios of likelihood as far apart as rewards, for all pairs of a group",
        lazily("objectives.prdp", "prdp"),
        options=PRDPOptions,
    ),
)


@hookimpl
def register_pipelines(register: Callable[[PipelineInfo], None]) -> None:
    """Register the embedded text-to-music model, and public models that are downloaded on first use."""
    register(
        PipelineInfo(
            "embedded",
            "StableAudioPipeline, 3.3M-parameter transformer, 5.12 s of 16 kHz mono, trained on public-domain scores",
            "Apache-2.0",
            embedded,
            adapter="stable-audio",
        )
    )
    for name, model in models().items():
        register(model.info(name))


@hookimpl
def register_adapters(register: Callable[[AdapterInfo], None]) -> None:
    """Register an adapter for each audio pipeline of diffusers that can be tuned."""
    for adapter in ADAPTERS:
        register(adapter)


@hookimpl
def register_objectives(register: Callable[[ObjectiveInfo], None]) -> None:
    """Register the two objectives of the DRAGON paper, and further ones from the literature."""
    for objective in OBJECTIVES:
        register(objective)
