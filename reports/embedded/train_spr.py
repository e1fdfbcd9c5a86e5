"""Train the encoder `spr` on rendered clips by self-prediction (SPR, arXiv 2007.05929); it sees no caption.

    python train_spr.py WORK_DIR OUT_DIR --state STATE        # [--device cuda] [--minutes 30]

From an embedding z_t a transition makes the next K = 5, one after the other, without hearing more. With the online
projection g, the prediction q, embeddings z' and projection g' of the target network, and two augmentations of one
excerpt, of which each network hears one:

    z_(t, k) = GRU(z_t, z_(t, k - 1)),  z_(t, 0) = z_t
    loss     = mean over t and k of  2 - 2 cos(q(g(z_(t, k))), g'(z'_(t + k)))

(equations 1 to 3 of the paper, without actions). The target network is the exponential average of the online one. What
the encoder is worth is measured by measure_spr.py.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cosine_similarity
from training import Fit, Job, asked, load_clips, options, to_float

from dragon_rewards.embedded.spr import MELS, STRIDE, WIDTH, EmbeddedSpr

if TYPE_CHECKING:
    from torch import Tensor

STEPS, BATCH, RATE, SEED, HELD_OUT = 10_000, 64, 3e-4, 13, 512
FRAMES, AHEAD, PROJECTED = 160, 5, 64  # log-mel frames of 2.56 s; predictions; dimensions of the projection
ORIGINS = 8  # embeddings of an excerpt from which the future is predicted
TARGET, AVERAGE = 0.99, 0.995  # what the target network, and the weights that ship, keep of themselves in a step
GAIN, BANDS, SHIFT = 6.0, 8, 2  # dB either way; the most bands dropped; log-mel frames either way
SILENCE = -2.0  # what log-mel frames are in silence
JUDGED = 500  # steps between two looks at held-out clips


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of features (..., width), always by the batch's own statistics.

    With a LayerNorm in its place all projections drifted toward one direction, which any prediction meets.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise features of any number of leading dimensions."""
        return super().forward(x.flatten(0, -2)).view(x.shape)


class SelfPrediction(nn.Module):
    """The online network (encoder, transition, projection, prediction) and its target network.

    Args:
        control: the negative control, which collapses: no prediction, and the online network is its own target.
    """

    def __init__(self, *, control: bool = False) -> None:
        super().__init__()
        self.control = control
        self.encoder = EmbeddedSpr()
        self.transition = nn.GRUCell(WIDTH, WIDTH)
        self.projection = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), BatchNorm(WIDTH), nn.GELU(), nn.Linear(WIDTH, PROJECTED)
        )
        self.prediction = nn.Identity() if control else nn.Linear(PROJECTED, PROJECTED)
        online = nn.ModuleList([self.encoder, self.projection])
        self.target = online if control else deepcopy(online).requires_grad_(requires_grad=False)

    def predicted(self, log_mel: Tensor, origins: Tensor) -> Tensor:
        """Predictions (clips, origins, K, 64) from the embeddings at origins (clips, origins)."""
        start = at(self.encoder(log_mel), origins).flatten(0, 1)
        states = [start]
        for _ in range(AHEAD):
            states.append(self.transition(start, states[-1]))
        ahead = torch.stack(states[1:], dim=1).unflatten(0, origins.shape)
        made: Tensor = self.prediction(self.projection(ahead))
        return made

    def targets(self, log_mel: Tensor) -> Tensor:
        """The target network's projections (clips, embeddings, 64)."""
        encoder, projection = self.target
        made: Tensor = projection(encoder(log_mel))
        return made

    def loss(self, online: Tensor, target: Tensor, origins: Tensor) -> Tensor:
        """The loss of log-mel frames of two augmentations, (clips, 64, frames) each."""
        return distance(self.predicted(online, origins), ahead_of(self.targets(target), origins))

    @torch.no_grad()
    def follow(self) -> None:
        """Move the target network toward the online one."""
        if self.control:
            return
        online = nn.ModuleList([self.encoder, self.projection])
        for own, theirs in zip(self.target.parameters(), online.parameters(), strict=True):
            own.lerp_(theirs, 1 - TARGET)


def at(frames: Tensor, places: Tensor) -> Tensor:
    """The frames (clips, places, width) at places (clips, places) among frames (clips, frames, width)."""
    return frames.gather(1, places[..., None].expand(-1, -1, frames.shape[2]))


def ahead_of(frames: Tensor, origins: Tensor) -> Tensor:
    """The K frames after each origin, (clips, origins, K, width)."""
    return torch.stack([at(frames, origins + step) for step in range(1, AHEAD + 1)], dim=2)


def distance(predicted: Tensor, target: Tensor) -> Tensor:
    """The mean squared distance of vectors at unit length, 2 - 2 cos."""
    return (2 - 2 * cosine_similarity(predicted, target, dim=-1)).mean()


def drawn_origins(clips: int, generator: torch.Generator) -> Tensor:
    """ORIGINS places of each clip, (clips, ORIGINS), that have K embeddings after them."""
    most = FRAMES // STRIDE - AHEAD
    return torch.randint(most, (clips, ORIGINS), generator=generator, device=generator.device)


@torch.no_grad()
def log_mels(encoder: EmbeddedSpr, clips: Tensor) -> Tensor:
    """Log-mel frames of all int16 clips as float16, (clips, 64, frames), so that the front end runs once."""
    device = encoder.mel.device
    return torch.cat([encoder.log_mel(to_float(part.to(device))).half() for part in clips.split(256)])


def excerpts(log_mel: Tensor, batch: int, generator: torch.Generator) -> Tensor:
    """Random excerpts of random clips, (batch, 64, FRAMES + 2 SHIFT)."""

    def drawn(most: int) -> Tensor:
        return torch.randint(most, (batch,), generator=generator, device=generator.device)

    length = FRAMES + 2 * SHIFT
    rows, starts = drawn(len(log_mel)), drawn(log_mel.shape[2] - length + 1)
    frames = starts[:, None] + torch.arange(length, device=starts.device)
    return log_mel[rows].gather(2, frames[:, None].expand(-1, MELS, -1)).float()


def augmented(log_mel: Tensor, generator: torch.Generator) -> Tensor:
    """A random gain, time shift and dropped run of bands of each excerpt, (batch, 64, FRAMES).

    A gain of g dB adds g / 20 to log-mel frames.
    """
    batch, device = len(log_mel), log_mel.device

    def drawn(most: int) -> Tensor:
        return torch.randint(most, (batch, 1), generator=generator, device=device)

    frames = drawn(2 * SHIFT + 1) + torch.arange(FRAMES, device=device)
    shifted = log_mel.gather(2, frames[:, None].expand(-1, MELS, -1))
    gain = GAIN / 20 * (2 * torch.rand(batch, 1, 1, generator=generator, device=device) - 1)
    place = torch.arange(MELS, device=device) - drawn(MELS)
    dropped = (place >= 0) & (place < drawn(BANDS + 1))
    return (shifted + gain).masked_fill(dropped[..., None], SILENCE)


def step_loss(model: SelfPrediction, log_mel: Tensor, batch: int, generator: torch.Generator) -> Tensor:
    """The loss of one random batch of log-mel frames (clips, 64, frames)."""
    chosen = excerpts(log_mel, batch, generator)
    views = augmented(chosen, generator), augmented(chosen, generator)
    return model.loss(*views, drawn_origins(batch, generator))


@torch.no_grad()
def spread(projected: Tensor) -> dict[str, float]:
    """What a collapse shows in, of projections (..., 64): of unit vectors, mean deviation and effective rank.

    The rank is the exponential of the entropy of the shares of the singular values (Roy and Vetterli 2007). Vectors
    that are uniform on the sphere have a deviation of 1 / 8.
    """
    unit = nn.functional.normalize(projected.flatten(0, -2), dim=-1)
    values = torch.linalg.svdvals((unit - unit.mean(0)).double())
    share = (values / values.sum().clamp_min(1e-12)).clamp_min(1e-12)
    rank = float((-(share * share.log()).sum()).exp())
    return {"std": round(float(unit.std(0).mean()), 4), "effective_rank": round(rank, 1)}


@torch.no_grad()
def skill(model: SelfPrediction, log_mel: Tensor) -> dict[str, float]:
    """Loss on log-mel frames (clips, 64, FRAMES), with every origin, beside the loss of copying the last embedding.

    skill = 1 - loss / loss of the copy, all without augmentation: music that repeats or stands still makes a copy good.
    """
    places = torch.arange(FRAMES // STRIDE - AHEAD, device=log_mel.device).expand(len(log_mel), -1)
    target = model.targets(log_mel)
    ahead = ahead_of(target, places)
    loss = float(distance(model.predicted(log_mel, places), ahead))
    copied = float(distance(at(target, places)[:, :, None].expand_as(ahead), ahead))
    return {"loss": round(loss, 4), "loss_of_copy": round(copied, 4), "skill": round(1 - loss / copied, 3)}


def middle(log_mel: Tensor) -> Tensor:
    """The middle of clips, (clips, 64, FRAMES)."""
    first = (log_mel.shape[2] - FRAMES) // 2
    return log_mel[..., first : first + FRAMES].float()


def judged(model: SelfPrediction, log_mel: Tensor) -> dict[str, float]:
    """Skill and spread on held-out log-mel frames."""
    with torch.no_grad():
        projected = model.targets(log_mel)
    return {**skill(model, log_mel), **spread(projected)}


def shuffled(log_mel: Tensor, generator: torch.Generator) -> Tensor:
    """Every clip's log-mel frames in a random order, in the fours that make an embedding."""
    fours = log_mel.unflatten(2, (-1, STRIDE))
    order = torch.rand(len(fours), fours.shape[2], generator=generator, device=log_mel.device).argsort(1)
    made: Tensor = fours.gather(2, order[:, None, :, None].expand_as(fours)).flatten(2)
    return made


def fitted(model: SelfPrediction, log_mel: Tensor, watched: Tensor, job: Job, name: str = "spr") -> Fit:
    """Train on log-mel frames over the budget; the log has a look at held-out ones every JUDGED steps."""
    fit = Fit(name, model, job, AVERAGE, SEED)
    for _ in fit:
        fit.step(step_loss(model, log_mel, job.batch, fit.generator))
        model.follow()
        if fit.done % JUDGED == 0:
            fit.write(**judged(model, watched))
    return fit


def main(job: Job, count: int, *, control: bool) -> None:
    """Train, store the encoder's float16 weights unless it is a control, and report what held-out clips say."""
    torch.manual_seed(SEED)
    model = SelfPrediction(control=control).to(job.device)
    log_mel = log_mels(model.encoder, load_clips(job.work, "train")[:count])
    watched = middle(log_mels(model.encoder, load_clips(job.work, "watch")[:HELD_OUT]))
    fit = fitted(model, log_mel, watched[:256], job, "spr_control" if control else "spr")
    fit.swap_average()
    if not control:
        weights = {k: v.half().contiguous().cpu() for k, v in model.encoder.state_dict().items()}
        save_file(weights, job.out / "model.safetensors")
    out_of_order = skill(model, shuffled(watched, torch.Generator(job.device).manual_seed(SEED)))
    figures = {**judged(model, watched), "loss_out_of_order": out_of_order["loss"]}
    parameters = sum(p.numel() for p in model.encoder.parameters())
    fit.report(seed=SEED, clips=len(log_mel), parameters=parameters, held_out_clips=len(watched), **figures)


if __name__ == "__main__":
    parser = options(__doc__, STEPS, BATCH, RATE)
    parser.add_argument("--clips", type=int, default=40_960, help="how many of the training clips are heard")
    parser.add_argument("--control", action="store_true", help="train the negative control, which should collapse")
    given = parser.parse_args()
    main(asked(given), given.clips, control=given.control)
