"""Train the embedded two-tower encoder on rendered clips and varied captions.

    python train_clap.py WORK_DIR OUT_DIR

Loss: symmetric InfoNCE over a batch (CLAP, arXiv 2211.06687, equation 3) with a learnt temperature. Every time a clip
is seen its caption is drawn anew from the grammar.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captions import describe
from safetensors.torch import save_file
from torch import Tensor
from training import Fit, load_clips, to_float
from vocabulary import tokenizer

from dragon_rewards.embedded.clap import EmbeddedClap

STEPS, BATCH, FRAMES, SEED = 1200, 128, 224, 12


@torch.no_grad()
def log_mels(model: EmbeddedClap, clips: Any) -> Tensor:
    """Log-mel frames of all clips as float16, so that the front end runs once."""
    parts = [model.audio.log_mel(to_float(clips[i : i + 64])).half() for i in range(0, len(clips), 64)]
    return torch.cat(parts)


def batch(mels: Tensor, rows: list[dict[str, Any]], rng: random.Random) -> tuple[Tensor, list[str]]:
    """Random excerpts at a random gain, and fresh captions."""
    chosen = [rng.randrange(len(rows)) for _ in range(BATCH)]
    starts = [rng.randint(0, mels.shape[2] - FRAMES) for _ in chosen]
    audio = torch.stack([mels[i, :, s : s + FRAMES] for i, s in zip(chosen, starts, strict=True)]).float()
    gain = torch.tensor([rng.uniform(-0.2, 0.1) for _ in chosen])
    return audio + gain[:, None, None], [describe(rows[i]["attributes"], rng) for i in chosen]


def contrastive(audio: Tensor, text: Tensor, log_temperature: Tensor) -> Tensor:
    """Symmetric cross-entropy of the similarity matrix."""
    logits = log_temperature.clamp(max=4.6).exp() * audio @ text.T
    target = torch.arange(len(logits))
    losses = [torch.nn.functional.cross_entropy(m, target) for m in (logits, logits.T)]
    return (losses[0] + losses[1]) / 2


def pooled(frames: Tensor) -> Tensor:
    """Mean of a clip's frames, at unit length."""
    return torch.nn.functional.normalize(frames.mean(1), dim=-1)


@torch.no_grad()
def retrieval(model: EmbeddedClap, clips: Any, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Text-to-audio recall@1 and @10 among 1,000 held-out clips, beside the most that is possible.

    Clips with the same attributes share captions, so recall counts a hit when a retrieved clip has the attributes of
    the caption's own clip; `chance` is the same count for a random order.
    """
    rng = random.Random(0)
    audio = torch.cat([pooled(model.encode_audio(to_float(clips[i : i + 50]))) for i in range(0, 1000, 50)])
    text = model.encode_text([describe(row["attributes"], rng) for row in rows[:1000]])
    keys = [tuple(row["attributes"].values()) for row in rows[:1000]]
    same = torch.tensor([[a == b for b in keys] for a in keys])
    order = (text @ audio.T).argsort(1, descending=True)
    hits = same.gather(1, order)
    return {
        "text_to_audio_recall_at_1": round(float(hits[:, 0].float().mean()), 3),
        "text_to_audio_recall_at_10": round(float(hits[:, :10].any(1).float().mean()), 3),
        "chance_at_1": round(float(same.float().mean()), 4),
        "chance_at_10": round(float((1 - (1 - same.float().mean(1)) ** 10).mean()), 3),
        "median_rank_of_own_clip": float((order == torch.arange(1000)[:, None]).float().argmax(1).median()) + 1,
    }


def main(work: Path, out: Path) -> None:
    """Train, store float16 weights and tokenizer, measure retrieval on both held-out splits."""
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    clips, rows = load_clips(work, "train")
    words = tokenizer()
    model = EmbeddedClap(words)
    mels = log_mels(model, clips)
    here = Path(__file__)
    fit = Fit(model, STEPS, 1e-3, here.with_name("clap_log.jsonl"))
    for _ in range(STEPS):
        audio, texts = batch(mels, rows, rng)
        frames = model.audio(audio)
        fit.step(contrastive(pooled(frames), model.encode_text(texts), model.log_temperature))
    fit.swap_average()
    out.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, out / "model.safetensors")
    words.save(str(out / "tokenizer.json"))
    report: dict[str, Any] = {"steps": STEPS, "seed": SEED, "minutes": round(fit.elapsed / 60, 1)}
    report["parameters"] = sum(p.numel() for p in model.parameters())
    for split in ("tunebook", "airs"):
        held_out, held_rows = load_clips(work, split)
        report[split] = retrieval(model, np.asarray(held_out[:1000]), held_rows)
    here.with_name("clap.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
