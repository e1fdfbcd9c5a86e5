"""Whether an encoder hears what sets one collection of music apart from another, and damage to it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation.damages import DAMAGES
from dragon_rewards.evaluation.tracks import draw
from dragon_rewards.media.clips import clips_on, resample
from dragon_rewards.metrics import Gaussian, frechet_distance, per_song_fad

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dragon_rewards.evaluation.damages import Damage
    from dragon_rewards.evaluation.tracks import Track
    from dragon_rewards.registry import Registry

CHUNK = 8  # tracks that are encoded at once
NORMAL = 1.645  # the 95% quantile of a standard normal
CHANCE = 0.5
PASSES = 2 + len(DAMAGES)  # of an encoder over as many tracks: the set, the other, and the set with each damage


class Verdict(StrEnum):
    """The answer to whether an encoder hears the difference of two sets."""

    HEARS = "yes"
    DOES_NOT = "no"
    REVERSED = "reversed"  # tracks of the other set rank nearer


@dataclass(frozen=True)
class Hearing:
    """What an encoder hears of a set and of another one; distances are in squared embedding units.

    Attributes:
        encoder: the name of the encoder.
        auc: the probability that a held-out track of the set is nearer to the set's other half, by per-song FAD, than a
            track of the other set is, from 0 to 1; 0.5 is chance.
        low: the lower end of the 90% interval of `auc`.
        high: the upper end of the 90% interval of `auc`.
        between: the FAD of half of the set from half of the other set, as a mean over halves.
        within: the FAD of the two halves of the set.
        noise: how much `within` grows where noise is added to the held-out half, as a share of it.
        low_pass: how much it grows by a low-pass filter.
        pitch_shift: how much it grows by another pitch.
        tracks: the number of tracks of each set.
    """

    encoder: str
    auc: float
    low: float
    high: float
    between: float
    within: float
    noise: float
    low_pass: float
    pitch_shift: float
    tracks: int

    @property
    def verdict(self) -> Verdict:
        """The verdict by whether the AUC is surely above chance, or surely below it, at 5% to either side."""
        if self.low > CHANCE:
            return Verdict.HEARS
        return Verdict.REVERSED if self.high < CHANCE else Verdict.DOES_NOT


@dataclass(frozen=True)
class Ear:
    """An encoder that hears tracks on a device.

    Attributes:
        name: the name of the encoder.
        registry: where it is registered.
        device: where it computes.
        seed: the seed of noise.
        on_progress: called with the number of tracks that were heard further.
    """

    name: str
    registry: Registry
    device: torch.device
    seed: int
    on_progress: Callable[[int], None]

    @torch.no_grad()
    def frames(self, tracks: Sequence[Track], damage: Damage | None = None) -> list[Tensor]:
        """Return the frames (frames, dim) of each track, damaged before if a damage is given, on the CPU.

        Raises:
            DragonError: the encoder cannot be built or fails.
        """
        info, generator = self.registry.encoder(self.name), torch.Generator().manual_seed(self.seed)
        encoder = self.registry.build_encoder(self.name, self.device)
        owner, found = self.registry.owners["register_encoders", self.name], list[Tensor]()
        for at in range(0, len(tracks), CHUNK):
            chunk = tracks[at : at + CHUNK]
            audio = [resample(track.audio, track.rate, info.sample_rate) for track in chunk]
            if damage:
                audio = [damage(each, info.sample_rate, generator) for each in audio]
            clips = clips_on(self.device, audio, info.sample_rate, [track.name for track in chunk], None, None)
            found += [each.cpu() for each in clips.embeddings(info, encoder, owner).frames]
            self.on_progress(len(chunk))
        return found


def hear(ear: Ear, own: Sequence[Track], other: Sequence[Track]) -> Hearing:
    """Judge an encoder by two sets of tracks, of which equally many are drawn.

    Each set is split in halves by the ear's seed. Of either half of the set, the other half is held out: its tracks,
    and the tracks of the other set, are compared with it by per-song FAD. With d the distances of the n held-out tracks
    and e the distances of the other tracks,

        AUC = mean over halves of P(d < e) + P(d = e) / 2

    Damage is told by the FAD of all frames of a half: a single track is narrower than a set, so that noise, which
    widens it, may bring it nearer. With the held-out half as it is and damaged,

        growth = mean over halves of FAD(damaged) / FAD - 1

    The interval of the AUC is AUC +- 1.645 SE, with the standard error of Hanley and McNeil (1982) for n tracks each:

        SE^2 = [A (1 - A) + (n - 1) (A / (2 - A) - A^2) + (n - 1) (2 A^2 / (1 + A) - A^2)] / n^2

    Args:
        ear: the encoder.
        own: the tracks of the set, at least 4.
        other: the tracks of the other set, at least 4.

    Raises:
        DragonError: the encoder fails, or a track is too short for it.
    """
    count = min(len(own), len(other)) // 2 * 2
    own, other = draw(own, count, ear.seed), draw(other, count, ear.seed)
    heard, foreign = ear.frames(own), ear.frames(other)
    damaged = {name: ear.frames(own, damage) for name, damage in DAMAGES.items()}
    order = torch.randperm(count, generator=torch.Generator().manual_seed(ear.seed)).tolist()
    halves = order[: count // 2], order[count // 2 :]
    try:
        return _judged(ear.name, heard, foreign, damaged, halves)
    except DragonError as error:
        raise DragonError(f"encoder '{ear.name}' cannot be judged by these tracks: {error}") from error


def _judged(
    name: str,
    heard: Sequence[Tensor],
    foreign: Sequence[Tensor],
    damaged: dict[str, list[Tensor]],
    halves: tuple[list[int], list[int]],
) -> Hearing:
    count, references = len(heard), [_gaussian(heard, half) for half in halves]
    others = [_gaussian(foreign, half) for half in halves]
    folds = list(zip(references, reversed(halves), strict=True))
    intact = [per_song_fad([heard[at] for at in held_out], reference) for reference, held_out in folds]
    ranks = [_auc(own, per_song_fad(foreign, reference)) for own, reference in zip(intact, references, strict=True)]
    within = float(frechet_distance(*references))
    grown = {
        damage: [float(frechet_distance(_gaussian(frames, half), reference)) for reference, half in folds]
        for damage, frames in damaged.items()
    }
    auc = sum(ranks) / len(ranks)
    error = NORMAL * standard_error(auc, count)
    return Hearing(
        encoder=name,
        auc=auc,
        low=max(0.0, auc - error),
        high=min(1.0, auc + error),
        between=float(torch.stack([frechet_distance(a, b) for a in references for b in others]).mean()),
        within=within,
        tracks=count,
        **{damage: sum(far) / len(far) / within - 1 for damage, far in grown.items()},
    )


def _gaussian(frames: Sequence[Tensor], rows: Sequence[int]) -> Gaussian:
    return Gaussian.fit(torch.cat([frames[at] for at in rows]))


def _auc(near: Tensor, far: Tensor) -> float:
    """Return the probability that one of `near` (n,) is below one of `far` (m,); equal ones count half."""
    return float(((near[:, None] < far).double() + (near[:, None] == far).double() / 2).mean())


def standard_error(auc: float, count: int) -> float:
    """Return the standard error of an AUC of `count` tracks against as many (Hanley and McNeil 1982, equation 2).

    >>> round(standard_error(0.5, 48), 3), standard_error(1.0, 48)
    (0.059, 0.0)
    """
    first, second = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
    return sqrt(max(0.0, auc * (1 - auc) + (count - 1) * (first + second))) / count


def sentence(hearings: Sequence[Hearing], own: str, other: str) -> str:
    """Return one sentence that names the encoders that hear what sets a set apart from another, and those that do not.

    Args:
        hearings: what each encoder hears, at least one.
        own: the name of the set.
        other: the name of the other set.
    """
    said = {
        Verdict.HEARS: "{} rank(s) tracks of '" + own + "' nearer to it than tracks of '" + other + "'",
        Verdict.DOES_NOT: "{} do(es) not tell the two apart",
        Verdict.REVERSED: "{} rank(s) tracks of '" + other + "' nearer to '" + own + "' than its own, so that a reward "
        "by this distance would lead away from it",
    }
    parts = []
    for verdict, text in said.items():
        found = [f"{each.encoder} ({each.auc:.2f})" for each in hearings if each.verdict is verdict]
        if found:
            parts.append(_agreed(text, len(found) > 1).format(_listed(found)))
    return "; ".join(parts) + "."


def _agreed(text: str, many: bool) -> str:
    """Return a text with its verbs in the plural or the singular."""
    if many:
        return text.replace("(s)", "").replace("(es)", "")
    return text.replace("(s)", "s").replace("(es)", "es")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
