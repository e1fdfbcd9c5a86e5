"""What an encoder promises."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dragon_rewards.clips import Clips
from dragon_rewards.errors import AudioError, DragonError, EncoderError
from dragon_rewards.protocols import Modality, TextEncoder
from dragon_rewards.testing.require import require, require_equal, require_texts
from dragon_rewards.testing.sounds import melody, sounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon_rewards.protocols import Encoder
    from dragon_rewards.registry import Registry

DURATIONS = (2, 12)  # seconds; the longer one for encoders that are deaf to the shorter
SHORT = (0.0, 0.01, 0.1)  # seconds
DISTANT = 0.1  # resampling moves frames by less than this share of their distance to another sound's
TEXTS = ("jig", "a slow hymn played on organ", "a fast jig on the fiddle, recorded in a small room " * 20, "a waltz")


class EncoderCase:
    """An encoder and what its checks share; everything is made when a check asks for it."""

    def __init__(self, name: str, registry: Registry) -> None:
        self.info = registry.encoder(name)
        self.registry = registry

    @cached_property
    def encoder(self) -> Encoder:
        """Built once."""
        return self.registry.build_encoder(self.info.name)

    @cached_property
    def another(self) -> Encoder:
        """Built a second time."""
        return self.info.factory()

    @property
    def audio(self) -> Tensor:
        """Four sounds (4, samples), long enough for a frame; new on every call, as an encoder may write to them."""
        return sounds(4, self.info.sample_rate, self.seconds)

    @cached_property
    def seconds(self) -> int:
        """The shortest of `DURATIONS` that gives a frame."""
        return next((seconds for seconds in DURATIONS if self._hears(seconds)), DURATIONS[-1])

    @cached_property
    def frames(self) -> Tensor:
        """Of `audio`: (4, frames, dim)."""
        return self.encode(self.audio)

    def encode(self, audio: Tensor) -> Tensor:
        """Frames without gradient."""
        with torch.no_grad():
            return self.encoder.encode_audio(audio)

    def through_clips(self, audio: Sequence[Tensor], rate: int) -> Sequence[Tensor]:
        """Frames of each clip, as rewards get them."""
        return Clips(audio, rate).embeddings(self.info, self.encoder).frames

    def _hears(self, seconds: int) -> bool:
        try:
            self.through_clips(list(sounds(1, self.info.sample_rate, seconds)), self.info.sample_rate)
        except (AudioError, EncoderError):
            return False
        return True

    @property
    def text_tower(self) -> TextEncoder:
        """The encoder, if it embeds text."""
        require(isinstance(self.encoder, TextEncoder), "a text tower", "no encode_text", "implement encode_text")
        assert isinstance(self.encoder, TextEncoder)  # noqa: S101  `require` made sure
        return self.encoder

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (texts, dim) without gradient."""
        with torch.no_grad():
            return self.text_tower.encode_text(texts)


prepare = lru_cache(maxsize=1)(EncoderCase)  # the checks of an encoder, run one after the other, share its frames


def facts(case: EncoderCase) -> None:
    """The descriptor's facts are of the right type and not empty."""
    info = case.info
    for name, value in (("dim", info.dim), ("sample_rate", info.sample_rate)):
        positive = type(value) is int and value > 0
        require(positive, f"{name} is a positive whole number", repr(value), "correct the EncoderInfo")
    require_texts(info, "licence", "summary")
    promised = "modalities that include audio, from Modality"
    known = Modality.AUDIO in info.modalities and info.modalities <= set(Modality)
    require(known, promised, f"{set(info.modalities)}", "correct the EncoderInfo")


def builds(case: EncoderCase) -> None:
    """The factory makes an encoder, and can make another."""
    for encoder in (case.encoder, case.another):
        made = hasattr(encoder, "encode_audio")
        require(made, "a factory that returns an encoder", f"{encoder!r}", "return an object with encode_audio")


def identity(case: EncoderCase) -> None:
    """The fingerprint of weights and preprocessing is a text, the same for every build."""
    first, second = case.encoder.identity, case.another.identity
    promised = "an identity that is a text, the same whenever the same weights are loaded"
    mend = "derive it from name, version and weights (fingerprint_files), not from what differs by process or by build"
    require(isinstance(first, str) and first and first == second, promised, f"{first!r}, then {second!r}", mend)


def frames(case: EncoderCase) -> None:
    """Float32 frames (clips, frames, dim), at least one of a clip of 12 s."""
    _require_frames(case.frames, case, clips=len(case.audio), least=1)


def _require_frames(found: object, case: EncoderCase, clips: int, least: int) -> None:
    dim = case.info.dim
    promised = f"encode_audio returns torch.float32 ({clips}, frames, {dim}) with {least} or more frames"
    kept = (
        isinstance(found, Tensor)
        and found.dtype == torch.float32
        and found.ndim == 3  # noqa: PLR2004  clips, frames, dim
        and found.shape == (clips, max(found.shape[1], least), dim)
    )
    got = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else f"{type(found).__name__}"
    require(kept, promised, got, "return this shape, or correct `dim` of the EncoderInfo")


def finite(case: EncoderCase) -> None:
    """No frame of any sound holds NaN or infinity."""
    _require_finite(case.frames, "frames", "add a floor before a logarithm, a division or a root; see digital silence")


def _require_finite(found: Tensor, what: str, mend: str) -> None:
    count = int((~found.isfinite()).sum())
    require(not count, f"finite {what}", f"{count} of {found.numel()} values are not", mend)


def deterministic(case: EncoderCase) -> None:
    """The same audio gives the same frames: again, and by another build."""
    mend = "switch dropout off (model.eval()) and seed what is drawn by a constant"
    require_equal(case.encode(case.audio), case.frames, "the same frames for the same audio", mend)
    with torch.no_grad():
        again = case.another.encode_audio(case.audio)
    require_equal(again, case.frames, "the same frames by another build", f"load all weights; {mend}")


def order_equivariant(case: EncoderCase) -> None:
    """Clips in another order give the same frames in that order."""
    order = torch.tensor([2, 0, 3, 1])
    mend = "keep the clips' order, and let no clip's place in the batch count"
    require_equal(case.encode(case.audio[order]), case.frames[order], "frames that follow the order of clips", mend)


def batch_invariant(case: EncoderCase) -> None:
    """A clip alone gives the frames that it has in a batch."""
    alone = torch.cat([case.encode(clip[None]) for clip in case.audio])
    mend = "normalise each clip by itself; model.eval() for batch norm"
    require_equal(alone, case.frames, "frames that do not depend on the other clips of the batch", mend)


def length_independent(case: EncoderCase) -> None:
    """A clip among clips of other lengths gives the frames that it has alone."""
    rate = case.info.sample_rate
    whole = sounds(3, rate, 1.5 * case.seconds)
    clips = [clip[: round(len(clip) * share)] for clip, share in zip(whole, (1, 0.7, 0.85), strict=True)]
    mixed = case.through_clips(clips, rate)
    for clip, found in zip(clips, mixed, strict=True):
        promised = "frames that do not depend on other clips' lengths"
        require_equal(found, case.through_clips([clip], rate)[0], promised, "pad by the clip itself; keep no state")


def distinct_sounds(case: EncoderCase) -> None:
    """A chord, a chirp and noise do not give the same frames."""
    spread = float((case.frames - case.frames.mean(0)).abs().max())
    require(spread, "frames that tell sounds apart", "the same frames for every sound", "read the audio")


def channels_and_rate(case: EncoderCase) -> None:
    """Stereo at 44.1 kHz gives nearly the frames of the same sound in mono at the encoder's own rate."""
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
    """No sample (what is left of one at a higher rate), one, 10 ms and 100 ms: finite frames, none, or a refusal."""
    rate = case.info.sample_rate
    sound = sounds(1, rate, 1)
    for samples in (0, 1, *(round(rate * seconds) for seconds in SHORT)):
        try:
            found = case.encode(sound[:, :samples])
        except (RuntimeError, AudioError, EncoderError):  # what `Clips` reports as a refusal
            continue
        _require_frames(found, case, clips=1, least=0)
        _require_finite(found, f"frames of {samples} sample(s)", "return no frames below one window")


def input_unmodified(case: EncoderCase) -> None:
    """The audio is not written to."""
    audio = case.audio
    case.encode(audio)
    promised, found = "audio that is left as it was", "encode_audio wrote to its input"
    require(audio.equal(case.audio), promised, found, "use no operation in place, or clone first")


def devices(case: EncoderCase) -> None:
    """Frames are on the device of the audio: on the CPU, and on the accelerator if there is one."""
    promised = "frames on the device of the audio"
    mend = "be a torch.nn.Module with buffers, which moves by .to(device), or move to audio.device in encode_audio"
    for device in _available():
        try:
            found = str(_frames_on(device, case).device.type)
        except RuntimeError as error:  # torch's refusal of tensors on two devices
            found = f"with audio on {device}: {error}"
        require(found == device.type, promised, f"{found} for {device.type}", mend)


def _available() -> list[torch.device]:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return [torch.device("cpu"), *([accelerator] if accelerator else [])]


def _frames_on(device: torch.device, case: EncoderCase) -> Tensor:
    """Frames of an encoder that is on `device` for as long as this takes: builds may share their weights."""
    encoder = case.another
    if not isinstance(encoder, torch.nn.Module):
        return encoder.encode_audio(case.audio.to(device))
    try:
        return encoder.to(device).encode_audio(case.audio.to(device))
    finally:
        encoder.to("cpu")


def gradients(case: EncoderCase) -> None:
    """Where frames carry a gradient, it reaches the audio, is finite and is not zero everywhere."""
    audio = case.audio.requires_grad_()
    try:
        found = case.encoder.encode_audio(audio)
    except DragonError:  # an encoder may refuse audio that requires gradients
        return
    if found.requires_grad:
        # Random weights: the sum or norm of frames that were normalised is constant.
        weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(0)).to(found)
        [gradient] = torch.autograd.grad((found * weights).sum(), audio, allow_unused=True)
        _require_gradient(gradient)


def _require_gradient(gradient: Tensor | None) -> None:
    promised = "a gradient of the audio, where frames carry one"
    mend = "let it through with torch operations, or detach the frames and freeze the weights"
    require(gradient is not None, promised, "the weights' gradient only", mend)
    assert gradient is not None  # noqa: S101  `require` made sure
    _require_finite(gradient, "gradients", "add an offset before a root or logarithm: their slope at 0 is infinite")
    require(gradient.any(), promised, "zeros only", mend)


def text_tower(case: EncoderCase) -> None:
    """The modality text is declared if and only if there is encode_text."""
    declared, present = Modality.TEXT in case.info.modalities, isinstance(case.encoder, TextEncoder)
    found = f"declared: {declared}, encode_text: {present}"
    mend = "add Modality.TEXT to the EncoderInfo, or take encode_text away"
    require(declared == present, "encode_text where the modality text is declared, and only there", found, mend)


def text_embeddings(case: EncoderCase) -> None:
    """Finite float32 embeddings (texts, dim), of long texts, too."""
    found = case.encode_text(TEXTS)
    _require_embeddings(found, case, len(TEXTS))
    _require_finite(found, "embeddings of text", "mask the padding before attention and means")


def _require_embeddings(found: object, case: EncoderCase, texts: int) -> None:
    shape = (texts, case.info.dim)
    got = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else f"{type(found).__name__}"
    mend = "return this shape, in the space of the frames"
    require(got == f"torch.float32 {shape}", f"encode_text returns torch.float32 {shape}", got, mend)


def text_deterministic(case: EncoderCase) -> None:
    """The same texts give the same embeddings."""
    promised = "the same embeddings for the same texts"
    require_equal(case.encode_text(TEXTS), case.encode_text(TEXTS), promised, "switch dropout off (model.eval())")


def text_batch_invariant(case: EncoderCase) -> None:
    """A text alone is embedded as it is among longer ones."""
    alone = torch.cat([case.encode_text([text]) for text in TEXTS])
    promised, mend = "embeddings that do not depend on the other texts", "mask the padding of shorter texts"
    require_equal(alone, case.encode_text(TEXTS), promised, mend)


def empty_text(case: EncoderCase) -> None:
    """The empty text is embedded, or refused by a DragonError."""
    try:
        found = case.encode_text([""])
    except DragonError:
        return
    _require_embeddings(found, case, 1)
    _require_finite(found, "embeddings of the empty text", "divide by no count of words that may be 0")
