"""Train the embedded two-tower encoder on rendered clips and varied captions.

    python train_clap.py WORK_DIR OUT_DIR --state STATE        # [--device cuda] [--minutes 1.5]

Loss: symmetric InfoNCE over a batch (CLAP, arXiv 2211.06687, equation 3) with a learnt temperature. Each clip has
CAPTIONS captions of the grammar, one of which is drawn each time that it is seen.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import torch
from captions import describe
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy, normalize
from training import Fit, Job, asked, load_clips, load_rows, options, to_float, tokens_of
from vocabulary import tokenizer

from dragon_rewards.embedded.clap import EmbeddedClap

if TYPE_CHECKING:
    from torch import Tensor

STEPS, BATCH, FRAMES, SEED, RATE, CAPTIONS = 3000, 1024, 224, 12, 1e-3, 16


@torch.no_grad()
def log_mels(model: EmbeddedClap, clips: Tensor) -> Tensor:
    """Log-mel frames of all clips as float16, so that the front end runs once."""
    device = model.log_temperature.device
    return torch.cat([model.audio.log_mel(to_float(part.to(device))).half() for part in torch.split(clips, 256)])


def excerpts(mels: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """Random excerpts of the chosen clips at a random gain, (clips, 64, FRAMES)."""
    starts = torch.randint(mels.shape[2] - FRAMES + 1, chosen.shape, generator=generator, device=mels.device)
    frames = starts[:, None] + torch.arange(FRAMES, device=mels.device)
    audio = mels[chosen].gather(2, frames[:, None].expand(-1, mels.shape[1], -1)).float()
    gain = torch.rand(len(chosen), generator=generator, device=mels.device) * 0.3 - 0.2
    return audio + gain[:, None, None]


def contrastive(audio: Tensor, text: Tensor, log_temperature: Tensor) -> Tensor:
    """Symmetric cross-entropy of the similarity matrix."""
    logits = log_temperature.clamp(max=4.6).exp() * audio @ text.T
    target = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


def pooled(frames: Tensor) -> Tensor:
    """Mean of a clip's frames, at unit length."""
    return normalize(frames.mean(1), dim=-1)


@torch.no_grad()
def retrieval(model: EmbeddedClap, clips: Tensor, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Text-to-audio recall@1 and @10 among 1,000 held-out clips, beside the most that is possible.

    Clips with the same attributes share captions, so recall counts a hit when a retrieved clip has the attributes of
    the caption's own clip; `chance` is the same count for a random order.
    """
    rng, device = random.Random(0), model.log_temperature.device
    parts = torch.split(clips[:1000], 50)
    audio = torch.cat([pooled(model.encode_audio(to_float(part.to(device)))) for part in parts]).cpu()
    text = model.encode_text([describe(row["attributes"], rng) for row in rows[:1000]]).cpu()
    keys = [tuple(row["attributes"].values()) for row in rows[:1000]]
    same = torch.tensor([[a == b for b in keys] for a in keys])
    order = (text @ audio.T).argsort(1, descending=True)
    hits = same.gather(1, order)
    return {
        "text_to_audio_recall_at_1": round(float(hits[:, 0].float().mean()), 3),
        "text_to_audio_recall_at_10": round(float(hits[:, :10].any(1).float().mean()), 3),
        "chance_at_1": round(float(same.float().mean()), 4),
        "chance_at_10": round(float((1 - (1 - same.float().mean(1)) ** 10).mean()), 3),
        "median_rank_of_own_clip": float((order == torch.arange(len(order))[:, None]).float().argmax(1).median()) + 1,
    }


def main(job: Job) -> None:
    """Train, store float16 weights and tokenizer, measure retrieval on both held-out splits."""
    torch.manual_seed(SEED)
    rows, words = load_rows(job.work, "train"), tokenizer()
    tokens = tokens_of(rows, CAPTIONS, SEED).to(job.device)
    model = EmbeddedClap(words).to(job.device)
    mels = log_mels(model, load_clips(job.work, "train"))
    fit = Fit("clap", model, job, 0.998, SEED)
    for _ in fit:
        chosen = torch.randint(len(rows), (job.batch,), generator=fit.generator, device=job.device)
        caption = torch.randint(CAPTIONS, (job.batch,), generator=fit.generator, device=job.device)
        frames = model.audio(excerpts(mels, chosen, fit.generator))
        fit.step(contrastive(pooled(frames), model.text(tokens[chosen, caption]), model.log_temperature))
    fit.swap_average()
    save_file({k: v.half().contiguous().cpu() for k, v in model.state_dict().items()}, job.out / "model.safetensors")
    words.save(str(job.out / "tokenizer.json"))
    splits = ("tunebook", "airs")
    found = {split: retrieval(model, load_clips(job.work, split), load_rows(job.work, split)) for split in splits}
    fit.report(seed=SEED, clips=len(rows), parameters=sum(p.numel() for p in model.parameters()), **found)


if __name__ == "__main__":
    main(asked(options(__doc__, STEPS, BATCH, RATE).parse_args()))
