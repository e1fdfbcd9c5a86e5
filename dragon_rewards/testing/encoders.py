"""What an encoder promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from dragon_rewards.compute.devices import available_devices
from dragon_rewards.errors import AudioError, DragonError, EncoderError
from dragon_rewards.media.clips import Clips
from dragon_rewards.protocols import BoundedTextEncoder, Modality, TextEncoder
from dragon_rewards.testing.require import DEVICE_ROUNDING, require, require_equal, require_texts
from dragon_rewards.testing.sounds import melody, sounds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dragon_rewards.protocols import Encoder
    from dragon_rewards.registry import Registry

DURATIONS = (2, 12)  # seconds; the longer one for encoders that are deaf to the shorter
SHORT = (0.0, 0.01, 0.1)  # seconds
DISTANT = 0.1  # resampling moves frames by less than this share of their distance to another sound's
REPEATED = 400  # times five words: more than text towers have positions
TEXTS = ("jig", "a slow hymn played on organ", "a fast jig on the fiddle, recorded in a small room " * 20, "a waltz")


class TowerCase(ABC):
    """An encoder, one of its towers, and what the checks of both share; everything is made when a check asks for it.

    Attributes:
        modality: that of the tower; `method` is its name, `media` and `noun` what it is given, many and one.
    """

    modality: ClassVar[Modality]
    method: ClassVar[str]
    media: ClassVar[str]
    noun: ClassVar[str]

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
    @abstractmethod
    def batch(self) -> Tensor:
        """Four examples, large enough for a frame; new on every call, as an encoder may write to them."""

    @cached_property
    def frames(self) -> Tensor:
        """Of `batch`: (4, frames, dim)."""
        return self.encode(self.batch)

    @abstractmethod
    def examples(self, count: int, seed: int) -> Sequence[Tensor]:
        """Frames of `count` examples, as rewards get them; another seed, other examples."""

    def encode(self, batch: Tensor) -> Tensor:
        """Frames without gradient."""
        with torch.no_grad():
            return self.tower(self.encoder)(batch)

    def tower(self, encoder: Encoder) -> Callable[[Tensor], Tensor]:
        """The method of a build that encodes a batch."""
        method: Callable[[Tensor], Tensor] = getattr(encoder, self.method)
        return method

    @property
    def text_tower(self) -> TextEncoder:
        """The encoder, if it embeds text."""
        require(isinstance(self.encoder, TextEncoder), "a text tower", "no encode_text", "implement encode_text")
        assert isinstance(self.encoder, TextEncoder)  # noqa: S101  `require` made sure
        return self.encoder

    def frames_on(self, device: torch.device) -> Tensor:
        """Frames of `batch` by the encoder's copy on a device, without gradient."""
        with torch.no_grad():
            return self.tower(self.registry.build_encoder(self.info.name, device))(self.batch.to(device))

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (texts, dim) without gradient."""
        with torch.no_grad():
            return self.text_tower.encode_text(texts)


class EncoderCase(TowerCase):
    """An encoder that hears."""

    modality, method, media, noun = Modality.AUDIO, "encode_audio", "audio", "clip"

    @property
    def batch(self) -> Tensor:
        """Four sounds (4, samples)."""
        return sounds(4, self.info.sample_rate, self.seconds)

    @cached_property
    def seconds(self) -> int:
        """The shortest of `DURATIONS` that gives a frame."""
        return next((seconds for seconds in DURATIONS if self._hears(seconds)), DURATIONS[-1])

    def examples(self, count: int, seed: int) -> Sequence[Tensor]:
        """Of sounds."""
        return self.through_clips(list(sounds(count, self.info.sample_rate, self.seconds, seed)), self.info.sample_rate)

    def through_clips(self, audio: Sequence[Tensor], rate: int) -> Sequence[Tensor]:
        """Frames of each clip, as rewards get them."""
        return Clips(audio, rate).embeddings(self.info, self.encoder).frames

    def _hears(self, seconds: int) -> bool:
        try:
            self.through_clips(list(sounds(1, self.info.sample_rate, seconds)), self.info.sample_rate)
        except (AudioError, EncoderError):
            return False
        return True


prepare = lru_cache(maxsize=1)(EncoderCase)  # the checks of an encoder, run one after the other, share its frames


def facts(case: EncoderCase) -> None:
    """The descriptor's facts are of the right type and not empty."""
    require_positive(case, "dim", "sample_rate")
    require_facts(case)


def require_positive(case: TowerCase, *names: str) -> None:
    """Facts that are numbers."""
    for name in names:
        value = getattr(case.info, name)
        positive = type(value) is int and value > 0
        require(positive, f"{name} is a positive whole number", repr(value), "correct the EncoderInfo")


def require_facts(case: TowerCase) -> None:
    """Facts that every encoder has."""
    info = case.info
    require_texts(info, "licence", "summary")
    promised = f"modalities that include {case.modality}, from Modality"
    known = case.modality in info.modalities and info.modalities <= set(Modality)
    require(known, promised, f"{set(info.modalities)}", "correct the EncoderInfo")


def builds(case: TowerCase) -> None:
    """The factory makes an encoder, and can make another."""
    for encoder in (case.encoder, case.another):
        made = hasattr(encoder, case.method)
        require(made, "a factory that returns an encoder", f"{encoder!r}", f"return an object with {case.method}")


def identity(case: TowerCase) -> None:
    """The fingerprint of weights and preprocessing is a text, the same for every build."""
    first, second = case.encoder.identity, case.another.identity
    promised = "an identity that is a text, the same whenever the same weights are loaded"
    mend = "derive it from name, version and weights (fingerprint_files), not from what differs by process or by build"
    require(isinstance(first, str) and first and first == second, promised, f"{first!r}, then {second!r}", mend)


def frames(case: TowerCase) -> None:
    """Float32 frames (examples, frames, dim), at least one of each."""
    require_frames(case.frames, case, count=len(case.batch), least=1)


def require_frames(found: object, case: TowerCase, count: int, least: int) -> None:
    """Frames of `count` examples, `least` or more of each."""
    dim = case.info.dim
    promised = f"{case.method} returns torch.float32 ({count}, frames, {dim}) with {least} or more frames"
    kept = (
        isinstance(found, Tensor)
        and found.dtype == torch.float32
        and found.ndim == 3  # noqa: PLR2004  examples, frames, dim
        and found.shape == (count, max(found.shape[1], least), dim)
    )
    got = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else f"{type(found).__name__}"
    require(kept, promised, got, "return this shape, or correct `dim` of the EncoderInfo")


def finite(case: TowerCase) -> None:
    """No frame of any example holds NaN or infinity."""
    mend = "add a floor before a logarithm, a division or a root; see digital silence, and black"
    require_finite(case.frames, "frames", mend)


def require_finite(found: Tensor, what: str, mend: str) -> None:
    """Values that are numbers."""
    count = int((~found.isfinite()).sum())
    require(not count, f"finite {what}", f"{count} of {found.numel()} values are not", mend)


def deterministic(case: TowerCase) -> None:
    """The same media give the same frames: again, and by another build."""
    mend = "switch dropout off (model.eval()) and seed what is drawn by a constant"
    require_equal(case.encode(case.batch), case.frames, f"the same frames for the same {case.media}", mend)
    with torch.no_grad():
        again = case.tower(case.another)(case.batch)
    require_equal(again, case.frames, "the same frames by another build", f"load all weights; {mend}")


def order_equivariant(case: TowerCase) -> None:
    """Examples in another order give the same frames in that order."""
    order = torch.tensor([2, 0, 3, 1])
    mend = f"keep the {case.noun}s' order, and let no {case.noun}'s place in the batch count"
    promised = f"frames that follow the order of {case.noun}s"
    require_equal(case.encode(case.batch[order]), case.frames[order], promised, mend)


def batch_invariant(case: TowerCase) -> None:
    """An example alone gives the frames that it has in a batch."""
    alone = torch.cat([case.encode(example[None]) for example in case.batch])
    mend = f"normalise each {case.noun} by itself; model.eval() for batch norm"
    require_equal(alone, case.frames, f"frames that do not depend on the other {case.noun}s of the batch", mend)


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
    require_distinct(case, "sound")


def require_distinct(case: TowerCase, what: str) -> None:
    """Frames that differ between examples."""
    spread = float((case.frames - case.frames.mean(0)).abs().max())
    require(spread, f"frames that tell {what}s apart", f"the same frames for every {what}", f"read the {case.media}")


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
        require_frames(found, case, count=1, least=0)
        require_finite(found, f"frames of {samples} sample(s)", "return no frames below one window")


def input_unmodified(case: TowerCase) -> None:
    """The media are not written to."""
    batch = case.batch
    case.encode(batch)
    promised, found = f"{case.media} left as it came in", f"{case.method} wrote to its input"
    require(batch.equal(case.batch), promised, found, "use no operation in place, or clone first")


def devices(case: TowerCase) -> None:
    """On every device that torch has here, the encoder's copy gives the CPU's frames, and there."""
    promised = f"the CPU's frames, on the device of the {case.media}"
    mend = (
        f"hold tensors in attributes or closures, which are copied to the device, and make those of {case.method} "
        f"there (device={case.media}.device)"
    )
    for device in available_devices():
        try:
            found = case.frames_on(device)
        except RuntimeError as error:  # torch's refusal of tensors on two devices
            require(kept=False, promised=promised, found=f"with {case.media} on {device}: {error}", mend=mend)
        require(found.device == device, promised, f"frames on {found.device} for {case.media} on {device}", mend)
        require_equal(found.cpu(), case.frames, f"{promised}, {device}", mend, DEVICE_ROUNDING)


def text_devices(case: TowerCase) -> None:
    """On every device that torch has here, the text tower's copy gives the CPU's embeddings, on any device."""
    mend = "put the words' identifiers where the weights are (next(model.parameters()).device)"
    for device in available_devices():
        encoder = case.registry.build_encoder(case.info.name, device)
        assert isinstance(encoder, TextEncoder)  # noqa: S101  as `text_tower` has checked
        promised = f"the CPU's embeddings of text, computed on {device}"
        try:
            with torch.no_grad():
                found = encoder.encode_text(TEXTS).cpu()
        except RuntimeError as error:
            require(kept=False, promised=promised, found=str(error), mend=mend)
        require_equal(found, case.encode_text(TEXTS), promised, mend, DEVICE_ROUNDING)


def gradients(case: TowerCase) -> None:
    """Where frames carry a gradient, it reaches the media, is finite and is not zero everywhere."""
    batch = case.batch.requires_grad_()
    try:
        found = case.tower(case.encoder)(batch)
    except DragonError:  # an encoder may refuse media that require gradients
        return
    if found.requires_grad:
        # Random weights: the sum or norm of frames that were normalised is constant.
        weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(0)).to(found)
        [gradient] = torch.autograd.grad((found * weights).sum(), batch, allow_unused=True)
        _require_gradient(gradient, case)


def _require_gradient(gradient: Tensor | None, case: TowerCase) -> None:
    promised = f"a gradient of the {case.media}, where frames carry one"
    mend = "let it through with torch operations, or detach the frames and freeze the weights"
    require(gradient is not None, promised, "the weights' gradient only", mend)
    assert gradient is not None  # noqa: S101  `require` made sure
    require_finite(gradient, "gradients", "add an offset before a root or logarithm: their slope at 0 is infinite")
    require(gradient.any(), promised, "zeros only", mend)


def text_tower(case: TowerCase) -> None:
    """The modality text is declared if and only if there is encode_text."""
    declared, present = Modality.TEXT in case.info.modalities, isinstance(case.encoder, TextEncoder)
    found = f"declared: {declared}, encode_text: {present}"
    mend = "add Modality.TEXT to the EncoderInfo, or take encode_text away"
    require(declared == present, "encode_text where the modality text is declared, and only there", found, mend)


def text_embeddings(case: TowerCase) -> None:
    """Finite float32 embeddings (texts, dim), of long texts, too."""
    found = case.encode_text(TEXTS)
    _require_embeddings(found, case, len(TEXTS))
    require_finite(found, "embeddings of text", "mask the padding before attention and means")


def _require_embeddings(found: object, case: TowerCase, texts: int) -> None:
    shape = (texts, case.info.dim)
    got = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else f"{type(found).__name__}"
    mend = "return this shape, in the space of the frames"
    require(got == f"torch.float32 {shape}", f"encode_text returns torch.float32 {shape}", got, mend)


def text_deterministic(case: TowerCase) -> None:
    """The same texts give the same embeddings."""
    promised = "the same embeddings for the same texts"
    require_equal(case.encode_text(TEXTS), case.encode_text(TEXTS), promised, "switch dropout off (model.eval())")


def text_batch_invariant(case: TowerCase) -> None:
    """A text alone is embedded as it is among longer ones."""
    alone = torch.cat([case.encode_text([text]) for text in TEXTS])
    promised, mend = "embeddings that do not depend on the other texts", "mask the padding of shorter texts"
    require_equal(alone, case.encode_text(TEXTS), promised, mend)


def text_limit(case: TowerCase) -> None:
    """An encoder that does not read to the end of a long text says so."""
    organ, fiddle = (f"{'a slow hymn played on ' * REPEATED}{ending}" for ending in ("organ", "fiddle"))
    cut = torch.equal(*case.encode_text([organ, fiddle]))
    tower = case.text_tower
    if not isinstance(tower, BoundedTextEncoder):
        mend = "give it `token_limit` and `count_tokens(texts)`, see dragon_rewards.protocols.BoundedTextEncoder"
        require(not cut, "texts that are read to the end, or a limit that is told", "a long text that is cut", mend)
        return
    short, long = tower.count_tokens([TEXTS[0], organ])
    counted = f"{short} and {long} tokens of a short and a long text, a limit of {tower.token_limit}"
    told = 0 < short <= tower.token_limit and cut == (long > tower.token_limit)
    mend = "count whole texts, and set token_limit to where encode_text cuts them"
    found = f"{counted}; the long one is{'' if cut else ' not'} cut"
    require(told, "a text is cut where it has more tokens than token_limit", found, mend)


def empty_text(case: TowerCase) -> None:
    """The empty text is embedded, or refused by a DragonError."""
    try:
        found = case.encode_text([""])
    except DragonError:
        return
    _require_embeddings(found, case, 1)
    require_finite(found, "embeddings of the empty text", "divide by no count of words that may be 0")
