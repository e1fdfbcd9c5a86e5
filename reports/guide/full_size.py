"""Published pipelines, in their own size, on the card that is here: memory and seconds by phase beside the estimate.

python reports/guide/full_size.py SCRATCH            # on a CUDA machine: at most eight minutes, of an H100
python reports/guide/full_size.py SCRATCH --small    # anywhere: the same on tiny pipelines

Weights are random, which changes neither memory nor time; SCRATCH takes 15 GB of them. Each pipeline is tuned for two
steps with LoRA in bf16, with and without gradient checkpointing, toward dataset FAD and per-song FAD; the second step
is measured. Then four rewards of the embedded pipeline are benchmarked. Results stand beside this file, under the
card's name, and with --small in SCRATCH; every row is written as soon as it is there, and no part is begun after
--minutes. No table of a card is committed that no card made.

Settings are the defaults of the classes in diffusers 0.42.1, which the published checkpoints have as well, and:
- Stable Audio Open's text encoder is T5 base (https://huggingface.co/google-t5/t5-base/blob/main/config.json);
- Stable Audio 3's is T5Gemma's of size B (https://huggingface.co/google/t5gemma-b-b-ul2), of which no settings could be
  read here: 12 layers of 768, 2,048 within, and Gemma's 256,000 tokens are assumed;
- ACE-Step's is Qwen3-Embedding-0.6B (https://huggingface.co/Qwen/Qwen3-Embedding-0.6B/blob/main/config.json), and its
  autoencoder makes 25 latents a second of 48 kHz, a stride of 1,920 in five steps.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import diffusers
import pandas as pd
import torch
import transformers
from diffusers.pipelines import ace_step, stable_audio, stable_audio_3

from dragon_rewards.compute.devices import default_device
from dragon_rewards.errors import DragonError
from dragon_rewards.storage.results import write_table
from dragon_train.config import TrainConfig
from dragon_train.embedded.prompts import prompts
from dragon_train.estimate.estimate import estimate
from dragon_train.estimate.machine import benchmark
from dragon_train.estimate.measure import measure
from dragon_train.objectives.configured import completed
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dragon_train.estimate.machine import Benchmarked

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))
REWARDS = ("dataset-fad:clap@airs", "per-song-fad:clap@airs")
BENCHMARKED = ("dataset-fad:clap@airs", "per-song-fad:clap@airs", "vendi:clap", "clap-score:clap")
SETTINGS: dict[str, Any] = {
    "precision": "bf16",
    "prompts_per_step": 2,
    "demonstration_steps": 2,
    "microbatch": 1,
    "sampling_batch": 2,
}
MINIATURE = """
heldout_prompts = 4
inference_steps = 2
subset_size = 2
rounds = 1
[train]
steps = 1
prompts_per_step = 2
demonstration_steps = 2
epochs = 1
"""


def on_cpu(kind: Any, **settings: Any) -> Any:
    """A scheduler, whose noise levels are values even where networks have none."""
    with torch.device("cpu"):
        return kind(**settings)


def stable_audio_open() -> Any:
    """47.6 s of 44.1 kHz stereo."""
    from support.pipelines import letters_tokenizer

    text = transformers.T5Config(d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12, vocab_size=32128)
    return diffusers.StableAudioPipeline(
        vae=diffusers.AutoencoderOobleck(),
        text_encoder=transformers.T5EncoderModel(text),
        projection_model=stable_audio.StableAudioProjectionModel(768, 768, 0, 512),
        tokenizer=letters_tokenizer(128),
        transformer=diffusers.StableAudioDiTModel(),
        scheduler=on_cpu(
            diffusers.EDMDPMSolverMultistepScheduler,
            sigma_data=1.0,
            sigma_min=0.3,
            sigma_max=500.0,
            prediction_type="v_prediction",
            solver_order=2,
        ),
    )


def stable_audio_3_medium() -> Any:
    """10 s of 44.1 kHz stereo."""
    from support.pipelines import gemma_tokenizer

    layers = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12}
    layers |= {"num_key_value_heads": 12, "head_dim": 64, "vocab_size": 256_000}
    text = transformers.T5GemmaConfig(encoder=layers, decoder=layers, is_encoder_decoder=False, vocab_size=256_000)
    return diffusers.StableAudio3Pipeline(
        vae=diffusers.AutoencoderSAME(),
        text_encoder=transformers.T5GemmaEncoderModel(text),
        tokenizer=gemma_tokenizer(),
        duration_embedder=stable_audio_3.StableAudio3DurationEmbedder(),
        transformer=diffusers.StableAudio3DiTModel(),
        scheduler=on_cpu(diffusers.FlowMatchEulerDiscreteScheduler, num_train_timesteps=1, stochastic_sampling=True),
    )


def ace_step_2b() -> Any:
    """60 s of 48 kHz stereo."""
    from support.pipelines import letters_tokenizer

    text = transformers.Qwen3Config(
        vocab_size=151_669,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
    )
    return diffusers.AceStepPipeline(
        vae=diffusers.AutoencoderOobleck(downsampling_ratios=[2, 4, 4, 6, 10], sampling_rate=48_000),
        text_encoder=transformers.Qwen3Model(text),
        tokenizer=letters_tokenizer(512),
        transformer=diffusers.AceStepTransformer1DModel(),
        condition_encoder=ace_step.AceStepConditionEncoder(),
        scheduler=on_cpu(diffusers.FlowMatchEulerDiscreteScheduler, num_train_timesteps=1, shift=1.0),
    )


FULL: dict[str, Callable[[], Any]] = {
    "stable-audio": stable_audio_open,
    "ace-step": ace_step_2b,
    "stable-audio-3": stable_audio_3_medium,
}


@dataclass(frozen=True)
class Study:
    """What is measured where, until when.

    Attributes:
        scratch: for pipelines.
        out: the tables' path, without suffix.
        small: whether pipelines are tiny.
        ends: no part is begun after this, in seconds of the monotonic clock.
    """

    scratch: Path
    out: Path
    small: bool
    ends: float
    device: torch.device

    @property
    def left(self) -> float:
        """Seconds."""
        return self.ends - monotonic()


def folder_of(name: str, study: Study) -> Path:
    """A pipeline with random weights, made once."""
    from support.pipelines import build

    folder = study.scratch / (f"{name}-small" if study.small else name)
    if not (folder / "model_index.json").exists():
        torch.manual_seed(0)
        with study.device:
            pipeline = build(name) if study.small else FULL[name]()
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                awaken(part)
                part.to(torch.float32 if part is pipeline.vae else torch.bfloat16)
        pipeline.save_pretrained(folder)
    return folder


@torch.no_grad()
def awaken(part: torch.nn.Module) -> None:
    """Weights that start at zero would answer nothing, and decode to silence."""
    for name, weight in part.named_parameters():
        if name.endswith(("weight", "silence_latent")) and not weight.any():
            torch.nn.init.normal_(weight, std=0.02)


def cases(study: Study, machine: Benchmarked) -> Iterator[dict[str, Any]]:
    """A row of every reward, pipeline and way to learn, while there is time: each pipeline has its turn early."""
    for reward, name, checkpointing in product(REWARDS, FULL, (True, False)):
        if study.left > 0:
            yield row(name, checkpointing, reward, study, machine)


def row(name: str, checkpointing: bool, reward: str, study: Study, machine: Benchmarked) -> dict[str, Any]:
    """Estimate and measurement, or why there is none."""
    head = {"device": machine.basis, "pipeline": name, "reward": reward, "gradient_checkpointing": checkpointing}
    config = TrainConfig(reward, pipeline=str(folder_of(name, study)), gradient_checkpointing=checkpointing, **SETTINGS)
    info = load_train_registry().pipeline(config.pipeline)
    found = estimate(info, completed(config), machine, cuda=study.device.type == "cuda")
    head |= {f"{phase}_gb_estimated": size / 1e9 for phase, size in found.memory.items()}
    head |= {f"{phase}_s_estimated": seconds for phase, seconds in found.seconds.items()}
    try:
        step = measure(config, prompts("train"), study.device)
    except (DragonError, torch.OutOfMemoryError) as error:
        return head | {"error": str(error).splitlines()[0]}
    finally:
        release(study.device)
    head |= {f"{phase}_gb": (peak - step.base) / 1e9 for phase, peak in step.peaks.items()}
    return head | {f"{phase}_s": seconds for phase, seconds in step.seconds.items()}


def release(device: torch.device) -> None:
    """Give back what the last pipeline had."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def bench(study: Study) -> None:
    """Four rewards of the embedded pipeline, as `dragon bench` does; how long they took, and what was won."""
    preset = study.scratch / "miniature.toml"
    preset.write_text(MINIATURE, encoding="utf-8")
    folder = study.scratch / "bench"
    command = [sys.executable, "-m", "dragon_train.cli", "bench", "--device", str(study.device), "--out", str(folder)]
    command += ["--preset", str(preset) if study.small else "quick", "--workers", "1"]
    command += [word for reward in BENCHMARKED for word in ("--rewards", reward)]
    started = monotonic()
    try:
        subprocess.run(command, check=True, timeout=study.left)  # noqa: S603  its own words
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"benchmark: {error}; its finished runs are in {folder}", file=sys.stderr)
        return
    wins = pd.read_csv(folder / "win_rates.csv")
    own = wins[["run", "win_rate", "lower", "trials"]].assign(seconds_of_all=monotonic() - started)
    write_table(study.out.with_name(f"{study.out.name}_bench"), own)


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--parts", nargs="+", choices=("pipelines", "benchmark"), default=["pipelines", "benchmark"])
    given = parser.parse_args()
    device = default_device()
    if device.type != "cuda" and not given.small:
        parser.error("there is no CUDA device here; --small runs anywhere")
    card = torch.cuda.get_device_name(device).lower().replace(" ", "-") if device.type == "cuda" else device.type
    out = (given.scratch if given.small else HERE) / f"full_size_{card}"
    study = Study(given.scratch, out, given.small, monotonic() + 60 * given.minutes, device)
    study.scratch.mkdir(parents=True, exist_ok=True)
    if "pipelines" in given.parts:
        rows = []
        for found in cases(study, benchmark(device)):
            rows.append(found)
            write_table(study.out, pd.DataFrame(rows))
    if "benchmark" in given.parts and study.left > 0:
        bench(study)


if __name__ == "__main__":
    main()
