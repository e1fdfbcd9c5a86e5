"""Clips and images as data URIs, the form in which a page carries them within itself.

A clip is an MP3, which every browser plays, with a picture of its spectrum; an image is a PNG.
"""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import soundfile
from PIL import Image

from dragon_rewards.media.clips import resample, to_mono
from dragon_rewards.media.images import Images
from dragon_train.bench.report.spectrogram import Tick, log_mel, pitch_ticks, spectrogram, time_ticks

if TYPE_CHECKING:
    from torch import Tensor

    from dragon_rewards.media.clips import Clips

MP3_RATES = {8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000}  # of MPEG 1, 2 and 2.5
FALLBACK_RATE = 44_100
COMPRESSION = 0.5  # of LAME's variable rates: about 25 kbit/s of mono at 16 kHz, 130 of stereo at 44.1 kHz
EDGE = 512  # pixels at most of an image's longer side


@dataclass(frozen=True)
class PageClip:
    """A clip as a page carries it: audio to play, and a spectrogram to look at.

    Attributes:
        noun: what the page calls it.
        form: in which the page carries it.
        look: what its picture shows, in words.
        audio: data URI of an MP3.
        spectrogram: data URI of a PNG.
        seconds: its length.
        highest: frequency of the spectrogram, in Hz.
        times: the spectrogram's axis of seconds.
        pitches: its axis of frequencies.
        bytes: of the MP3.
    """

    noun: ClassVar = "clip"
    form: ClassVar = "MP3"
    look: ClassVar = " In the pictures bright is loud, and all have the same scale, from \N{MINUS SIGN}70 to 0 dB."
    audio: str
    spectrogram: str
    seconds: float
    highest: float
    times: tuple[Tick, ...]
    pitches: tuple[Tick, ...]
    bytes: int


@dataclass(frozen=True)
class PageImage:
    """An image as a page carries it.

    Attributes:
        noun: what the page calls it.
        form: in which the page carries it.
        look: nothing needs to be said of its picture.
        picture: data URI of a PNG.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        bytes: of the PNG.
    """

    noun: ClassVar = "image"
    form: ClassVar = f"PNG, at most {EDGE} pixels wide and high"
    look: ClassVar = ""
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
        data_uri("image/png", stored(spectrogram(log_mel(to_mono(audio), rate)))),
        seconds,
        rate / 2,
        time_ticks(seconds),
        pitch_ticks(rate / 2),
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


def stored(picture: Image.Image) -> bytes:
    """Return the bytes of a picture as a PNG file."""
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def data_uri(kind: str, content: bytes) -> str:
    """Return content as a data URI, which carries it within a page.

    >>> data_uri("text/plain", b"hi")
    'data:text/plain;base64,aGk='
    """
    return f"data:{kind};base64,{b64encode(content).decode()}"
