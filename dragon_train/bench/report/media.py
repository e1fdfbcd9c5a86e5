"""Clips and images as data URIs, the form in which a page carries them within itself.

A clip is an MP3, which every browser plays, with a picture of its spectrum; an image is a PNG.
"""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import soundfile
import torch
from PIL import Image
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

from dragon_rewards.encoders.spectral import power_spectrum, unit_window
from dragon_rewards.media.clips import resample, to_mono
from dragon_rewards.media.images import Images

if TYPE_CHECKING:
    from dragon_rewards.media.clips import Clips

MP3_RATES = {8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000}  # of MPEG 1, 2 and 2.5
FALLBACK_RATE = 44_100
COMPRESSION = 0.5  # of LAME's variable rates: about 25 kbit/s of mono at 16 kHz, 130 of stereo at 44.1 kHz
N_FFT, BANDS, COLUMNS = 1024, 64, 240
LEVELS = 32  # colours: fewer would show as steps, and more as kilobytes
FLOOR, CEILING = -70.0, 0.0  # dB of a full-scale sine: the same for all clips, so that loudness shows
INK = ("0b0f1c", "2b2a5e", "6b3a8c", "b94a7d", "ee7b51", "fbc15e", "fcf7d0")  # dark to light, evenly lighter


EDGE = 512  # pixels at most of an image's longer side


@dataclass(frozen=True)
class PageClip:
    """A clip as a page carries it: audio to play, and a spectrogram to look at.

    Attributes:
        noun: what the page calls it.
        form: in which the page carries it.
        audio: data URI of an MP3.
        spectrogram: data URI of a PNG.
        seconds: its length.
        highest: frequency of the spectrogram, in Hz.
        bytes: of the MP3.
    """

    noun: ClassVar = "clip"
    form: ClassVar = "MP3"
    audio: str
    spectrogram: str
    seconds: float
    highest: float
    bytes: int


@dataclass(frozen=True)
class PageImage:
    """An image as a page carries it.

    Attributes:
        noun: what the page calls it.
        form: in which the page carries it.
        picture: data URI of a PNG.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        bytes: of the PNG.
    """

    noun: ClassVar = "image"
    form: ClassVar = f"PNG, at most {EDGE} pixels wide and high"
    picture: str
    width: int
    height: int
    bytes: int


def page_media(media: Clips | Images) -> list[PageClip | PageImage]:
    """Return each clip or image of a set as the page carries it."""
    if isinstance(media, Images):
        return [page_image(pixels) for pixels in media.media]
    return [page_clip(audio, media.sample_rate) for audio in media.audio]


def page_image(pixels: Tensor) -> PageImage:
    """Encode an image (3, height, width) in [0, 1] for the page, made smaller where it is larger than `EDGE` pixels."""
    levels = (pixels.detach().cpu() * 255).round().byte()
    picture = Image.fromarray(levels.permute(1, 2, 0).numpy())
    picture.thumbnail((EDGE, EDGE))
    encoded = stored(picture)
    return PageImage(data_uri("image/png", encoded), *picture.size, len(encoded))


def page_clip(audio: Tensor, rate: int) -> PageClip:
    """Encode a clip (channels, samples) at `rate` Hz for the page, resampled where MP3 does not know the rate."""
    heard, heard_rate = (audio, rate) if rate in MP3_RATES else (resample(audio, rate, FALLBACK_RATE), FALLBACK_RATE)
    encoded, seconds = mp3(heard, heard_rate), audio.shape[-1] / rate
    return PageClip(
        data_uri("audio/mpeg", encoded),
        data_uri("image/png", png(log_mel(to_mono(audio), rate))),
        seconds,
        rate / 2,
        len(encoded),
    )


def mp3(audio: Tensor, rate: int) -> bytes:
    """Encode audio (channels, samples) in [-1, 1] as MP3.

    Args:
        audio: of which the first two channels are kept; what exceeds [-1, 1] is clipped.
        rate: in Hz, one of `MP3_RATES`.
    """
    file = io.BytesIO()
    samples = audio[:2].detach().cpu().clamp(-1, 1).numpy().T
    soundfile.write(file, samples, rate, format="MP3", bitrate_mode="VARIABLE", compression_level=COMPRESSION)
    return file.getvalue()


def log_mel(audio: Tensor, rate: int) -> Tensor:
    """Return the mel spectrogram of mono audio (samples,): (bands, frames) in dB of a full-scale sine, low bands first.

    There are about `COLUMNS` frames, and fewer of a very short clip, which is padded with silence to one at least.
    """
    padded = torch.nn.functional.pad(audio.detach().cpu().float(), (0, max(0, N_FFT - len(audio))))
    hop = max(1, (len(padded) - N_FFT) // (COLUMNS - 1))
    power = power_spectrum(padded[None], unit_window(N_FFT), hop)[0]
    bank = mel_filter_bank(
        N_FFT // 2 + 1, BANDS, 30.0, rate / 2, rate, mel_scale="slaney", triangularize_in_mel_space=True
    )
    return 10 * (power @ torch.from_numpy(bank).float() + 1e-10).log10().T


def png(decibels: Tensor) -> bytes:
    """Draw a spectrogram (bands, frames) in dB as a PNG with low bands at the bottom."""
    levels = ((decibels - FLOOR) / (CEILING - FLOOR)).clamp(0, 1).flip(0)
    picture = Image.fromarray((levels * (LEVELS - 1)).round().byte().numpy())
    picture.putpalette(palette())
    return stored(picture)


def stored(picture: Image.Image) -> bytes:
    """Return the bytes of a picture as a PNG file."""
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def palette() -> bytes:
    """Return the `LEVELS` colours of spectrograms as bytes (red, green, blue), interpolated between those in `INK`."""
    anchors = np.array([list(bytes.fromhex(colour)) for colour in INK], float)
    places = np.linspace(0, len(INK) - 1, LEVELS)
    channels = [np.interp(places, np.arange(len(INK)), anchors[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8).tobytes()


def data_uri(kind: str, content: bytes) -> str:
    """Return content as a data URI, which carries it within a page.

    >>> data_uri("text/plain", b"hi")
    'data:text/plain;base64,aGk='
    """
    return f"data:{kind};base64,{b64encode(content).decode()}"
