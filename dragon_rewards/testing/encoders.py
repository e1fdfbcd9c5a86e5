"""The checks of what an encoder of audio promises beyond what `towers` and `text_towers` check of every encoder."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.errors import AudioError, EncoderError
from dragon_rewards.media.clips import Clips
from dragon_rewards.protocols import LATENTS_KEPT, LatentEncoder, Modality
from dragon_rewards.terminal.printable import counted
from dragon_rewards.testing.require import require, require_equal
from dragon_rewards.testing.sounds import melody, sounds
from dragon_rewards.testing.towers import (
    TowerCase,
    require_distinct,
    require_facts,
    require_finite,
    require_frames,
    require_positive,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

DURATIONS = (2, 12)  # seconds; the longer one for encoders that are deaf to the shorter
SHORT = (0.0, 0.01, 0.1)  # seconds
DISTANT = 0.1  # resampling moves frames by less than this share of their distance to another sound's


class EncoderCase(TowerCase):
    """An encoder of audio, and what its checks share."""

    modality, method, media, noun = Modality.AUDIO, "encode_audio", "audio", "clip"

    @property
    def batch(self) -> Tensor:
        """Four sounds, (4, samples), at the encoder's sample rate."""
        return sounds(4, self.info.sample_rate, self.seconds)

    @cached_property
    def seconds(self) -> int:
        """The shortest length in seconds, of those in `DURATIONS`, that gives the encoder a frame."""
        return next((seconds for seconds in DURATIONS if self._hears(seconds)), DURATIONS[-1])

    def examples(self, count: int, seed: int) -> Sequence[Tensor]:
        """Return the frames (frames, dim) of `count` sounds, as rewards get them; another seed gives other sounds."""
        return self.through_clips(list(sounds(count, self.info.sample_rate, self.seconds, seed)), self.info.sample_rate)

    def through_clips(self, audio: Sequence[Tensor], rate: int) -> Sequence[Tensor]:
        """Return the frames (frames, dim) of each clip of audio at `rate` Hz, as rewards get them."""
        return Clips(audio, rate).embeddings(self.info, self.encoder).frames

    def _hears(self, seconds: int) -> bool:
        try:
            self.through_clips(list(sounds(1, self.info.sample_rate, seconds)), self.info.sample_rate)
        except (AudioError, EncoderError):
            return False
        return True


prepare = lru_cache(maxsize=1)(EncoderCase)  # the checks of an encoder, run one after the other, share its frames


def facts(case: EncoderCase) -> None:
    """Check that the descriptor's facts are of the right type and not empty."""
    require_positive(case, "dim", "sample_rate")
    require_facts(case)


def length_independent(case: EncoderCase) -> None:
    """Check that a clip among clips of other lengths gives the frames that it has alone."""
    rate = case.info.sample_rate
    whole = sounds(3, rate, 1.5 * case.seconds)
    clips = [clip[: round(len(clip) * share)] for clip, share in zip(whole, (1, 0.7, 0.85), strict=True)]
    mixed = case.through_clips(clips, rate)
    for clip, found in zip(clips, mixed, strict=True):
        promised = "frames that do not depend on other clips' lengths"
        require_equal(found, case.through_clips([clip], rate)[0], promised, "pad by the clip itself; keep no state")


def distinct_sounds(case: EncoderCase) -> None:
    """Check that a chord, a chirp and noise do not give the same frames."""
    require_distinct(case, "sound")


def channels_and_rate(case: EncoderCase) -> None:
    """Check that stereo at 44.1 kHz gives nearly the frames of the same sound in mono at the encoder's own rate."""
    mono = melody(case.info.sample_rate, case.seconds)
    wide = melody(44_100, case.seconds)
    own = case.encode(mono[None])[0]
    [heard] = case.through_clips([torch.stack([1.5 * wide, 0.5 * wide])], 44_100)
    require(heard.shape == own.shape, "as many frames", f"{len(heard)} and {len(own)}", "count frames by duration")
    moved, apart = float((heard - own).norm()), float((case.frames[1] - own).norm())
    promised = "frames that hardly change when the same sound comes as stereo at 44.1 kHz"
    found = f"they move by {moved:.3g}, and another sound is {apart:.3g} away (allowed: {DISTANT:g} of it)"
    require(moved <= DISTANT * apart, promised, found, "add a floor, so that what is inaudible does not decide")


def short_input(case: EncoderCase) -> None:
    """Check that very short clips give finite frames, none, or a refusal.

    The clips have no sample (what may be left of one at a higher rate), one sample, 10 ms and 100 ms.
    """
    rate = case.info.sample_rate
    sound = sounds(1, rate, 1)
    for samples in (0, 1, *(round(rate * seconds) for seconds in SHORT)):
        try:
            found = case.encode(sound[:, :samples])
        except (RuntimeError, AudioError, EncoderError):  # what `Clips` reports as a refusal
            continue
        require_frames(found, case, count=1, least=0)
        require_finite(found, f"frames of {counted(samples, 'sample')}", "return no frames below one window")


def latents(case: EncoderCase) -> None:
    """Check that an encoder that reads latents makes frames of them as it does of what they decode to.

    Where it says that decoding keeps latents, the frames have to agree, too.
    """
    encoder = case.encoder
    if not isinstance(encoder, LatentEncoder):
        return
    read, heard = read_and_heard(case, encoder)
    require_read(read, tuple(heard.shape))
    correlation = float(torch.corrcoef(torch.stack([read.flatten(), heard.flatten()]))[0, 1])
    promised = f"keeps_latents: frames of latents and of decoded sounds correlate by {LATENTS_KEPT} or more"
    kept = correlation >= LATENTS_KEPT or not encoder.keeps_latents
    require(kept, promised, f"{correlation:.3f}", "set keeps_latents = False, or train the autoencoder for it")


def require_read(read: object, shape: tuple[int, ...]) -> None:
    """Require that frames of latents are float32 frames of the shape that frames of decoded sounds have."""
    found = f"{read.dtype} {tuple(read.shape)}" if isinstance(read, torch.Tensor) else type(read).__name__
    promised = f"latent_frames returns torch.float32 {shape}, as encode_audio does of the decoded sounds"
    require(found == f"torch.float32 {shape}", promised, found, "lay latents out as encode_audio lays out its frames")


@torch.no_grad()
def read_and_heard(case: EncoderCase, encoder: LatentEncoder) -> tuple[Any, Tensor]:
    """Return what an encoder reads from the latents of four sounds, and its frames of what they decode to."""
    vae: Any = encoder.autoencoder
    batch = sounds(4, vae.config.sampling_rate, case.seconds)[:, None].expand(-1, vae.config.audio_channels, -1)
    coded = vae.encode(batch).latent_dist.mode()
    heard = case.through_clips(list(vae.decode(coded).sample), vae.config.sampling_rate)
    return encoder.latent_frames(coded), torch.stack(list(heard))
