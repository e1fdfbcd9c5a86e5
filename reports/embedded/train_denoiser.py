"""Train the embedded diffusion transformer and its text encoder on the latents of the rendered clips.

    python train_denoiser.py WORK_DIR OUT_DIR --state STATE --autoencoder DIR   # [--device cuda] [--minutes 4]

It goes on from the weights that ship. The loss is the trainer's own `denoising_error` (EDM preconditioning,
v-prediction); a tenth of the conditions are dropped the way StableAudioPipeline drops them for guidance. Each clip has
CAPTIONS captions, one of which is drawn each time that it is seen.
"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from training import Fit, Job, asked, load_clips, load_rows, options, to_float, tokens_of

from dragon_rewards.embedded.autoencoder import WEIGHTS as AUTOENCODER
from dragon_rewards.embedded.autoencoder import load_autoencoder
from dragon_train.embedded.pipeline import load_pipeline
from dragon_train.pipelines.stable_audio import LEVEL_DEVIATION, LEVEL_MEAN, StableAudioPolicy
from dragon_train.protocols import Draw

if TYPE_CHECKING:
    from diffusers import StableAudioPipeline
    from torch import Tensor

    from dragon_train.pipelines.recorded import AudioPolicy

STEPS, BATCH, SEED, RATE, DROP, CAPTIONS = 10_000, 48, 13, 1e-3, 0.1, 16
EVERYWHERE = 0.2  # share of levels drawn log-uniformly over the sampler's range, whose ends the others hardly reach


@torch.no_grad()
def latents_of(pipeline: StableAudioPipeline, clips: Tensor, device: torch.device) -> Tensor:
    """Latents of all int16 clips as float16, (clips, 128, 80)."""
    parts = torch.split(clips, 256)
    return torch.cat([pipeline.vae.encode(to_float(p.to(device))[:, None]).latent_dist.mode().half() for p in parts])


def levels(count: int, scheduler: Any, generator: torch.Generator) -> Tensor:
    """Noise levels: log-normal as in the trainer, one of each quantile, and some over the sampler's whole range."""
    device = generator.device

    def drawn() -> Tensor:
        return torch.rand(count, generator=generator, device=device)

    quantile = (torch.randperm(count, generator=generator, device=device) + drawn()) / count
    usual = LEVEL_MEAN + LEVEL_DEVIATION * torch.special.ndtri(quantile.clamp(1e-6, 1 - 1e-6))
    low, high = (torch.tensor(s).log().item() for s in (scheduler.config.sigma_min, scheduler.config.sigma_max))
    return torch.where(drawn() < EVERYWHERE, low + (high - low) * drawn(), usual).exp()


class Conditions:
    """The pipeline's conditioning of captions, with gradient to the text encoder, and some of it dropped."""

    def __init__(self, policy: AudioPolicy, batch: int, device: torch.device) -> None:
        self.pipeline, self.seconds, self.batch, self.device = policy.pipeline, policy.seconds, batch, device
        self.fixed = policy.condition(["a tune"] * batch)

    def __call__(self, words: Tensor, generator: torch.Generator) -> dict[str, Any]:
        """Condition on word identifiers (clips, words), padded with 0."""
        mask = (words != 0).long()
        hidden = self.pipeline.text_encoder(words, attention_mask=mask)[0]
        text = self.pipeline.encode_prompt(None, self.device, False, prompt_embeds=hidden, attention_mask=mask)
        start, end = self.pipeline.encode_duration(0.0, self.seconds, self.device, False, self.batch)
        keep = torch.rand(self.batch, 1, 1, generator=generator, device=self.device) >= DROP
        own = {
            "encoder_hidden_states": torch.cat([text, start, end], dim=1) * keep,
            "global_hidden_states": torch.cat([start, end], dim=2),
        }
        return {**self.fixed, **own}


def save(pipeline: StableAudioPipeline, out: Path) -> None:
    """Every part but the autoencoder, weights as float16."""
    for name in ("transformer", "text_encoder", "projection_model"):
        deepcopy(getattr(pipeline, name)).half().save_pretrained(out / name)
        kept = json.loads((out / name / "config.json").read_text(encoding="utf-8"))
        kept.pop("_name_or_path", None)  # a path of the machine that it was trained on
        (out / name / "config.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    pipeline.tokenizer.save_pretrained(out / "tokenizer")
    pipeline.scheduler.save_pretrained(out / "scheduler")


def main(job: Job, autoencoder: Path) -> None:
    """Train, store float16 weights of every part but the autoencoder."""
    torch.manual_seed(SEED)
    rows = load_rows(job.work, "train")
    tokens = tokens_of(rows, CAPTIONS, SEED).to(job.device)
    pipeline = load_pipeline()
    pipeline.vae = load_autoencoder(autoencoder)
    pipeline.to(job.device)
    latents = latents_of(pipeline, load_clips(job.work, "train"), job.device)
    policy = StableAudioPolicy(pipeline)
    conditions = Conditions(policy, job.batch, job.device)
    trained = nn.ModuleList([pipeline.transformer, pipeline.text_encoder, pipeline.projection_model])
    trained.requires_grad_(True)
    pipeline.transformer.time_proj.requires_grad_(False)  # fixed random frequencies
    half = torch.autocast(job.device.type, torch.bfloat16, enabled=job.device.type != "cpu")
    if job.device.type != "cpu":
        pipeline.transformer.compile()
    fit = Fit("denoiser", trained, job, 0.9995, SEED)
    for _ in fit:
        chosen = torch.randint(len(rows), (job.batch,), generator=fit.generator, device=job.device)
        caption = torch.randint(CAPTIONS, (job.batch,), generator=fit.generator, device=job.device)
        target = latents[chosen].float()
        noise = torch.randn(target.shape, generator=fit.generator, device=job.device)
        draw = Draw(noise, levels(job.batch, pipeline.scheduler, fit.generator))
        with half:
            condition = conditions(tokens[chosen, caption].long(), fit.generator)
            loss = policy.denoising_error(target, condition, draw).mean()
        fit.step(loss)
    fit.swap_average()
    save(pipeline, job.out)
    fit.report(seed=SEED, clips=len(rows), parameters=sum(p.numel() for p in pipeline.transformer.parameters()))


if __name__ == "__main__":
    parser = options(__doc__, STEPS, BATCH, RATE)
    parser.add_argument("--autoencoder", type=Path, default=AUTOENCODER, help="the folder of the autoencoder's weights")
    given = parser.parse_args()
    main(asked(given), given.autoencoder)
