"""Measure what rewards say of real clips, as they are and through the autoencoder of the pipeline that is tuned.

It is what a model that makes real music would have, and the most that one with this autoencoder can have: the ceilings
of a benchmark (`ceilings.py`).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from dragon_rewards import compose
from dragon_rewards.compute.devices import find_device
from dragon_rewards.errors import AudioError, ConfigError
from dragon_rewards.evaluation import Interval, cluster_interval, set_interval
from dragon_rewards.exemplars import read_manifest
from dragon_rewards.media.audio import read_windows, seconds_of
from dragon_rewards.media.clips import Clips, clips_on, resample, to_mono
from dragon_rewards.media.discovery import find_audio
from dragon_rewards.media.prompts import prompt_sources
from dragon_rewards.protocols import Modality
from dragon_rewards.storage.dataframes import Column, read_csv
from dragon_rewards.storage.files import write_csv
from dragon_rewards.terminal.printable import counted
from dragon_train.bench.benchmark import checked_record
from dragon_train.bench.launchers import Task
from dragon_train.bench.result_files import REAL, REAL_MUSIC
from dragon_train.loop.tuning import load_policy
from dragon_train.pipelines.recorded import AudioPolicy
from dragon_train.pipelines.stable_audio import StableAudioPolicy
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.media.media import Media
    from dragon_rewards.rewards import Reward
    from dragon_train.bench.benchmark import Benchmark
    from dragon_train.bench.launchers import Launcher

AS_IS, CODEC = "real", "codec"
COLUMNS = dict.fromkeys(("reward", "music", "model", "origin"), Column.TEXT) | dict.fromkeys(
    ("clips", "value", "low", "high"), Column.NUMBER
)
SEED = 0  # of the draw from a folder with more clips than are compared


def judges_music(reward: Reward) -> bool:
    """Tell whether real music says how far a reward goes: it does not where the reward compares with texts."""
    return reward.exemplar_set is None or reward.exemplar_set.modality is Modality.AUDIO


def origin_of(reward: Reward) -> str:
    """Return what the values of a reward depend on beside its name: its encoder's weights and its exemplar set."""
    identity = reward.registry.build_encoder(reward.encoder.name).identity
    held = [read_manifest(reward.exemplar_set.path).sha256] if reward.exemplar_set else []
    return "; ".join([identity, *held])


def measured_rows(rewards: Iterable[Reward], clips: Media, music: str, model: str) -> list[dict[str, Any]]:
    """Return a row of `COLUMNS` for each reward: the value of the clips with its 95% interval.

    Args:
        rewards: the rewards, each once.
        clips: the clips.
        music: the name of what the clips are from.
        model: `AS_IS`, or `CODEC` for clips that went through the autoencoder.
    """
    rows = []
    for reward in rewards:
        found = interval_of(reward, clips)
        values = {"value": found.mean, "low": found.low, "high": found.high}
        known = {"reward": reward.name, "music": music, "model": model, "clips": len(clips)}
        rows.append({**known, **values, "origin": origin_of(reward)})
    return rows


@torch.no_grad()
def interval_of(reward: Reward, clips: Media) -> Interval:
    """Return the raw metric of clips, the mean of them or of the whole set, with its 95% interval."""
    if reward.kind.per_clip:
        return cluster_interval(reward.metric(clips).double().cpu().numpy(), np.arange(len(clips)))
    value = reward.subsets(clips)
    return set_interval(lambda rows: reward.direction.sign * value(rows), len(clips))


@torch.no_grad()
def latents_of(policy: StableAudioPolicy, clips: Clips) -> Tensor:
    """Return the most likely latents of clips under the pipeline's autoencoder, (clips, channels, frames)."""
    autoencoder = policy.pipeline.vae
    mono = torch.stack([to_mono(clip) for clip in clips.audio])[:, None]
    audio = mono.expand(-1, autoencoder.config.audio_channels, -1)
    return torch.cat([autoencoder.encode(part).latent_dist.mode() for part in audio.split(policy.batch)])


@torch.no_grad()
def through_codec(policy: StableAudioPolicy, clips: Clips) -> Clips:
    """Return clips of the pipeline's length after its autoencoder, under their names and with their prompts."""
    return Clips(policy.decode(latents_of(policy, clips)), policy.sample_rate, clips.prompts, clips.names)


def measure_real(benchmarks: Sequence[Benchmark], folder: Path, launcher: Launcher) -> None:
    """Measure real clips under the rewards that benchmarks tune toward, before any run starts.

    Args:
        benchmarks: to whose folders the values are written.
        folder: the folder of the clips, whose name the music gets.
        launcher: what starts it.

    Raises:
        ConfigError: the folder of a benchmark holds one with other settings.
        DragonError: there are too few clips, or one cannot be used or is shorter than the pipeline's.
    """
    for benchmark in benchmarks:
        checked_record(benchmark)
    launcher.run([real_task(benchmark, folder) for benchmark in benchmarks], lambda: None)


def real_task(benchmark: Benchmark, folder: Path) -> Task:
    """Return the task that measures the clips of a folder for one benchmark."""
    files, rewards = (
        real_files(folder, benchmark.preset.heldout_prompts),
        tuple(dict.fromkeys(benchmark.served.values())),
    )
    return Task(measure_files, benchmark.out / REAL, (folder, files, rewards, benchmark.workload.pipeline))


def real_files(folder: Path, count: int) -> tuple[Path, ...]:
    """Return the files of a folder that are compared with so many generated clips, a seeded draw if there are more.

    Raises:
        AudioError: the folder is missing, or holds fewer audio files.
    """
    found = find_audio([folder])
    if len(found) < count:
        raise AudioError(
            f"'{folder}' holds {counted(len(found), 'audio file')}, and {count} clips are compared; give as many, "
            "or compare on fewer prompts"
        )
    return tuple(sorted(random.Random(SEED).sample(found, count)))


def measure_files(
    out: Path, folder: Path, files: Sequence[Path], rewards: Sequence[str], pipeline: str, device: str | None
) -> None:
    """Measure real clips, as they are and through the autoencoder, and write the values to `out`.

    Rewards that compare with texts are left out, and those that need prompts where a clip has none.

    Args:
        out: the folder of the values.
        folder: the folder of the clips.
        files: the clips.
        rewards: names of the rewards.
        pipeline: the pipeline whose clips they are compared with.
        device: where to compute, as `find_device` takes it.

    Raises:
        ConfigError: the pipeline makes no audio.
        AudioError: a clip cannot be used, or is shorter than the pipeline's.
    """
    where = find_device(device)
    policy = load_policy(load_train_registry().pipeline(pipeline), None, where)
    if not isinstance(policy, AudioPolicy):
        raise ConfigError(f"--real: pipeline '{pipeline}' makes no clips of a known length; leave --real out")
    clips = read_clips(files, folder, policy.seconds, policy.sample_rate, where)
    asked = [reward for reward in map(compose, rewards) if judges_music(reward)]
    asked = [reward for reward in asked if clips.prompts or not reward.reduction.needs_prompts]
    rows = measured_rows(asked, clips, folder.resolve().name, AS_IS)
    if isinstance(policy, StableAudioPolicy):
        rows += measured_rows(asked, through_codec(policy, clips), folder.resolve().name, CODEC)
    write_csv(out / REAL_MUSIC, pd.DataFrame(rows, columns=list(COLUMNS)))


def read_clips(files: Sequence[Path], folder: Path, seconds: float, rate: int, device: torch.device) -> Clips:
    """Read the beginning of each file, as long as a generated clip, with the prompts beside them if all have one.

    Raises:
        AudioError: a file cannot be used, or is shorter.
    """
    for path in files:
        if (length := seconds_of(path)) < seconds:
            raise AudioError(
                f"'{path}' lasts {length:.4g} s, and the pipeline's clips last {seconds:.4g} s; remove it or give a "
                "longer one"
            )
    said = prompt_sources(files, None, [folder])
    texts = [entry.text for path in files if (entry := said.of(path)) and entry.text]
    audio = [beginning(path, seconds, rate) for path in files]
    prompts = texts if len(texts) == len(files) else None
    return clips_on(device, audio, rate, [str(path) for path in files], prompts, None)


def beginning(path: Path, seconds: float, rate: int) -> Tensor:
    """Return the first seconds of a file in mono, (samples,), at this rate in Hz."""
    window = next(read_windows(path, seconds, str(path)))
    audio = resample(window.audio, window.rate, rate)
    return torch.nn.functional.pad(audio, (0, round(seconds * rate) - len(audio)))  # a sample more or less by rounding


def read_real(path: Path, remedy: str) -> pd.DataFrame:
    """Read what was measured of real clips.

    Args:
        path: a file with the columns `COLUMNS`.
        remedy: what to do if it cannot be read, as the end of a sentence.

    Raises:
        DragonError: the file cannot be read.
    """
    return read_csv(path, COLUMNS, remedy)
