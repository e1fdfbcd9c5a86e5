"""Train the embedded diffusion transformer and its text encoder on the latents of the rendered clips.

    python train_denoiser.py WORK_DIR OUT_DIR

The loss is the trainer's own `denoising_error` (EDM preconditioning, v-prediction); a tenth of the conditions are
dropped the way StableAudioPipeline drops them for guidance. Captions are drawn anew each time a clip is seen.
"""

from __future__ import annotations

import json
import random
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from captions import describe
from diffusers import EDMDPMSolverMultistepScheduler, StableAudioDiTModel, StableAudioPipeline
from diffusers.pipelines.stable_audio import StableAudioProjectionModel
from torch import Tensor, nn
from training import Fit, load_clips, to_float
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel
from vocabulary import tokenizer

from dragon_rewards.embedded.autoencoder import load_autoencoder
from dragon_train.pipelines.stable_audio import StableAudioPolicy

STEPS, BATCH, SEED, DROP = 2000, 48, 13, 0.1
SNAPSHOT = 500  # steps; divides STEPS, so the last snapshot is the model that ships
WIDTH = 128  # of the text encoder and of the conditioning


def untrained() -> StableAudioPipeline:
    """The pipeline with its real classes in a small configuration."""
    words = tokenizer()
    special = {"pad_token": "<pad>", "unk_token": "<unk>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=24, **special)
    t5 = T5Config(
        vocab_size=words.get_vocab_size(), d_model=WIDTH, d_kv=32, d_ff=256, num_layers=2, num_heads=4, dropout_rate=0.0
    )
    transformer = StableAudioDiTModel(
        sample_size=80,
        in_channels=128,
        out_channels=128,
        num_layers=6,
        attention_head_dim=32,
        num_attention_heads=5,
        num_key_value_attention_heads=5,
        cross_attention_dim=160,
        cross_attention_input_dim=WIDTH,
        global_states_input_dim=2 * WIDTH,
        time_proj_dim=128,
    )
    return StableAudioPipeline(
        vae=load_autoencoder(),
        text_encoder=T5EncoderModel(t5),
        projection_model=StableAudioProjectionModel(WIDTH, WIDTH, 0, 10),
        tokenizer=fast,
        transformer=transformer,
        scheduler=EDMDPMSolverMultistepScheduler(
            sigma_min=0.03, sigma_max=50.0, sigma_data=1.0, prediction_type="v_prediction"
        ),
    )


@torch.no_grad()
def latents_of(pipeline: StableAudioPipeline, clips: Any, kept: Path) -> Tensor:
    """Latents of all clips as float16, encoded once and kept."""
    if not kept.exists():
        parts = []
        for i in range(0, len(clips), 64):
            latents = pipeline.vae.encode(to_float(clips[i : i + 64])[:, None]).latent_dist.mode()
            parts.append(latents.half())
        torch.save(torch.cat(parts), kept)
    stored: Tensor = torch.load(kept, weights_only=True)
    return stored


def conditions(policy: StableAudioPolicy, texts: list[str], rng: random.Random) -> dict[str, Tensor]:
    """The pipeline's conditioning with gradient to the text encoder, and some of it dropped."""
    pipeline, device = policy.pipeline, torch.device("cpu")
    text = pipeline.encode_prompt(texts, device, do_classifier_free_guidance=False)
    start, end = pipeline.encode_duration(0.0, policy.seconds, device, False, len(texts))
    keep = torch.tensor([float(rng.random() >= DROP) for _ in texts])[:, None, None]
    own = {
        "encoder_hidden_states": torch.cat([text, start, end], dim=1) * keep,
        "global_hidden_states": torch.cat([start, end], dim=2),
    }
    return {**policy.condition(texts), **own}


def save(pipeline: StableAudioPipeline, out: Path) -> None:
    """Every part but the autoencoder, weights as float16."""
    for name in ("transformer", "text_encoder", "projection_model"):
        deepcopy(getattr(pipeline, name)).half().save_pretrained(out / name)
    pipeline.tokenizer.save_pretrained(out / "tokenizer")
    pipeline.scheduler.save_pretrained(out / "scheduler")


def main(work: Path, out: Path) -> None:
    """Train, store float16 weights of every part but the autoencoder."""
    torch.manual_seed(SEED)
    rng, generator = random.Random(SEED), torch.Generator().manual_seed(SEED)
    clips, rows = load_clips(work, "train")
    pipeline = untrained()
    latents = latents_of(pipeline, clips, work / "latents.pt")
    policy = StableAudioPolicy(pipeline)
    trained = nn.ModuleList([pipeline.transformer, pipeline.text_encoder, pipeline.projection_model])
    trained.requires_grad_(True)
    pipeline.transformer.time_proj.requires_grad_(False)  # fixed random frequencies
    fit = Fit(trained, STEPS, 1e-3, Path(__file__).with_name("denoiser_log.jsonl"))
    for _ in range(STEPS):
        chosen = [rng.randrange(len(rows)) for _ in range(BATCH)]
        target = latents[chosen].float()
        condition = conditions(policy, [describe(rows[i]["attributes"], rng) for i in chosen], rng)
        fit.step(policy.denoising_error(target, condition, policy.draw(target, generator)).mean())
        if fit.done % SNAPSHOT == 0:
            fit.swap_average()
            save(pipeline, out)
            fit.swap_average()
    report = {"steps": STEPS, "batch": BATCH, "seed": SEED, "minutes": round(fit.elapsed / 60, 1)}
    report["parameters"] = sum(p.numel() for p in pipeline.transformer.parameters())
    Path(__file__).with_name("denoiser.json").write_text(json.dumps(report, indent=2) + "\n")
    print(report)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
