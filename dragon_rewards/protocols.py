"""The contracts of plugins: the light descriptors that they register, and the encoders and reductions that they build.

A descriptor holds names and facts only, so listing descriptors imports neither torch nor any model. The encoder or
reduction itself is built by calling the descriptor's `factory` when it is first used.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch
    from torch import Tensor, nn


LATENTS_KEPT = 0.95  # correlation; per-song FAD of samples then orders them alike by latents and by audio (0.99)


class Modality(StrEnum):
    """The medium that an example consists of, or that an encoder embeds."""

    AUDIO = "audio"
    IMAGE = "image"
    TEXT = "text"


class RewardKind(StrEnum):
    """The kinds of reward, told apart by what they judge (DRAGON, arXiv 2504.15217).

    An instance reward judges each clip by itself. An instance-to-distribution reward compares each clip with an
    exemplar set. A distribution-to-distribution reward judges a whole set of clips at once.
    """

    INSTANCE = "instance"
    INSTANCE_TO_DISTRIBUTION = "instance-to-distribution"
    DISTRIBUTION_TO_DISTRIBUTION = "distribution-to-distribution"

    @property
    def per_clip(self) -> bool:
        """Whether every clip gets a value of its own; otherwise the whole set of clips gets a single value."""
        return self is not RewardKind.DISTRIBUTION_TO_DISTRIBUTION


class ReferenceKind(StrEnum):
    """The form in which a reduction takes an exemplar set: as a Gaussian, as facets, or as points."""

    STATISTICS = "statistics"  # a metrics.Gaussian of all frames of the set
    FACETS = "facets"  # metrics.Facets, which `dragon exemplars facets` makes
    POINTS = "points"  # metrics.Points, one embedding of each window of audio or caption


class Direction(StrEnum):
    """The direction in which a raw metric is better; a reward is always maximised."""

    HIGHER = "higher"
    LOWER = "lower"

    @property
    def sign(self) -> int:
        """The factor, 1 or -1, by which a raw metric is multiplied to make a reward."""
        return 1 if self is Direction.HIGHER else -1


@runtime_checkable
class Encoder(Protocol):
    """A model that turns media into embeddings, with one tower for each modality that its descriptor lists.

    The factory builds the encoder on the CPU, where it may be used as it is. For each other device rewards make one
    copy, with all tensors that the encoder reaches through attributes, containers and closures; tensors in float64 stay
    where they are if the device has no float64.

    Frames are returned on the device of the media. The encoder creates new tensors on that device
    (`device=audio.device`), and brings back what is computed elsewhere, such as on a server. It must not move tensors
    that it holds.

    Attributes:
        identity: a fingerprint of weights and preprocessing. Statistics that were made with another identity are
            refused.
    """

    identity: str


@runtime_checkable
class AudioEncoder(Encoder, Protocol):
    """An encoder with a tower for audio; it implements `encode_audio`."""

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Encode mono audio as frames.

        Args:
            audio: float samples (clips, samples) at the sample rate of the descriptor.

        Returns:
            Embeddings in float32 of shape (clips, frames, dim).
        """
        ...


@runtime_checkable
class LatentEncoder(AudioEncoder, Protocol):
    """An encoder of audio whose frames are the latents of an autoencoder.

    Where a pipeline has the same autoencoder, the latents that it samples are frames already: the trainer then neither
    decodes nor encodes.

    Attributes:
        autoencoder: the network, with the interface of diffusers' VAEs and the `audio_channels` of its configuration.
        keeps_latents: whether decoding loses next to nothing of latents: their frames are those that the encoder makes
            of the decoded clips, heard as rewards hear clips, up to a correlation of `LATENTS_KEPT`.
    """

    autoencoder: nn.Module
    keeps_latents: bool

    def latent_frames(self, latents: Tensor) -> Tensor:
        """Return latents, as the autoencoder decodes them, as float32 frames (clips, frames, dim), with gradient."""
        ...


@runtime_checkable
class ImageEncoder(Encoder, Protocol):
    """An encoder with a tower for images; it implements `encode_image`."""

    def encode_image(self, images: Tensor) -> Tensor:
        """Encode RGB images as frames.

        Args:
            images: values from 0 to 1 of shape (images, 3, height, width).

        Returns:
            Embeddings in float32 of shape (images, frames, dim).
        """
        ...


@runtime_checkable
class TextEncoder(Encoder, Protocol):
    """An encoder with a tower for text, whose embeddings share a space with those that its other towers make."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode texts as float32 embeddings of shape (texts, dim)."""
        ...


@runtime_checkable
class BoundedTextEncoder(TextEncoder, Protocol):
    """A text encoder that reads only the beginning of a long text; users are warned of texts that it cuts.

    Attributes:
        token_limit: the most tokens of a text that it reads, as `count_tokens` counts them.
    """

    token_limit: int

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        """Count the tokens of each whole text, including the marks of beginning and end if the limit includes them."""
        ...


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of a set of clips, which are all that a reduction sees of the clips.

    Attributes:
        frames: for each clip a float32 matrix (frames, dim); clips may differ in their number of frames.
        prompts: the prompts in the same space, (clips, dim), for reductions that declare `needs_prompts`.
    """

    frames: Sequence[Tensor]
    prompts: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """The device on which all of these embeddings are."""
        return self.frames[0].device

    def to(self, device: torch.device) -> Embeddings:
        """Return these embeddings on another device, moved in one transfer through which gradients flow."""
        if device == self.device:
            return self
        from torch import cat

        frames = cat(list(self.frames)).to(device).split([len(clip) for clip in self.frames])
        return Embeddings(frames, None if self.prompts is None else self.prompts.to(device))


class Reduction(Protocol):
    """A function that turns embeddings, and a reference where its descriptor asks for one, into raw metric values.

    A reduction is copied to the device of the embeddings with all tensors that it holds, as an encoder is, and the
    reference is on that device, too. If the clips' device has no float64, the embeddings come on the CPU.

    The reference is a `metrics.Gaussian`, or a `metrics.Facets` or `metrics.Points` if the descriptor's `reference`
    says so; it is None if the reward has no exemplar set. A reduction annotates its parameter with the type that it
    declares.

    Reductions of kinds that judge clips return a tensor (clips,); reductions that judge whole sets return a scalar.
    Values must be finite, of a floating point type, and on the device of the embeddings; otherwise the reward is
    refused.

    A reduction of whole sets may also have the method `subsets` of `SubsetReduction`. Selection and evaluation use it;
    a reduction without it is called once for each subset. And it may have the method `of_moments(moments, reference)`,
    which returns the metric of a set of which only the `metrics.gaussian.Moments` of all frames are kept.
    """

    def __call__(self, clips: Embeddings, reference: Any) -> Tensor:
        """Compute the raw metric of `clips`: (clips,) for kinds that judge clips, else a scalar."""
        ...


class SubsetReduction(Reduction, Protocol):
    """A reduction of whole sets that prepares once and then computes the metric of many subsets."""

    def subsets(self, clips: Embeddings, reference: Any) -> Callable[[Tensor], Tensor]:
        """Prepare to compute the metric of many subsets of `clips`.

        Returns:
            A function from index rows (subsets, size) to raw metrics (subsets,).
        """
        ...


@dataclass(frozen=True)
class Weights:
    """The weights that a part loads and its package does not contain; `dragon doctor` reports whether they are present.

    Attributes:
        source: `owner/name` on the Hugging Face hub, or the address of a single file.
        files: one entry for each file that is needed: a pattern, or several alternatives separated by `|`. For the
            address of a single file, the name of that file.
        folder: the folder below `$DRAGON_WEIGHTS` where the user may put them; empty if no folder there is searched.
        size: bytes to download; None if that is not known.
        gated: whether a licence must be accepted on its page before the download; None if that is not known.
        revision: the commit, tag or branch of the repository on the hub; None for the newest.
        convert: the commands that write them into `folder`, where the source has them in another form than is loaded;
            empty if they are loaded as they are.
    """

    source: str
    files: tuple[str, ...]
    folder: str = ""
    size: int | None = None
    gated: bool | None = None
    revision: str | None = None
    convert: str = ""


@dataclass(frozen=True)
class EncoderInfo:
    """The descriptor of an encoder, which a plugin registers.

    Attributes:
        name: the name under which it is registered.
        modalities: the media that it embeds.
        dim: the number of values in a frame.
        sample_rate: the rate in Hz of the mono audio that it takes; 0 if it takes no audio.
        licence: the licence of its weights.
        summary: a few words on what it is good for.
        factory: builds the encoder on the CPU.
        space: the name under which exemplar sets keep statistics in its space; None for its own name.
        weights: the weights that it loads and its package does not contain.
        statistics: a folder of files `<exemplar set>.safetensors` that its package contains, with statistics in its
            space of audio sets that ship without their audio; None if there is none.
        reductions: the names of the only reductions that know what its frames mean; empty if all do.
        trained_on: the music that its weights were fitted to, where that is narrow, so that what it says of other music
            is a guess; empty for an encoder that has heard all kinds, or has no weights.
    """

    name: str
    modalities: frozenset[Modality]
    dim: int
    sample_rate: int
    licence: str
    summary: str
    factory: Callable[[], Encoder]
    space: str | None = None
    weights: tuple[Weights, ...] = ()
    statistics: Path | None = None
    reductions: frozenset[str] = frozenset()
    trained_on: str = ""


@dataclass(frozen=True)
class ExemplarSetInfo:
    """The descriptor of an exemplar set, which a plugin registers.

    Attributes:
        name: the name under which it is registered.
        modality: whether its examples are audio, images or texts.
        count: the number of its examples.
        licence: the licence of its contents.
        summary: a few words on what it holds.
        path: the folder of its manifest, captions and reference statistics.
    """

    name: str
    modality: Modality
    count: int
    licence: str
    summary: str
    path: Path


@dataclass(frozen=True)
class ReductionInfo:
    """The descriptor of a reduction, which a plugin registers.

    Attributes:
        name: the name under which it is registered.
        kind: what its rewards judge.
        direction: whether a larger or a smaller metric is better.
        summary: a few words on what it measures.
        factory: builds the reduction.
        needs_reference: whether its rewards name an exemplar set.
        needs_prompts: whether it compares clips with their prompts, which the encoder's text tower embeds.
        minimum_clips: the fewest clips that it can judge.
        encoders: the only encoders that it works with, such as the one that its weights were fitted for; empty for any.
        reference: whether it takes the exemplar set as a Gaussian, as facets or as points.
        identity: a fingerprint of what it was fitted to, where that may change while its package does not; it tells
            results that were made with another fit.
        pooled: whether it sees nothing of a clip but its mean frame; of a large set only the means are kept then.
    """

    name: str
    kind: RewardKind
    direction: Direction
    summary: str
    factory: Callable[[], Reduction]
    needs_reference: bool = False
    needs_prompts: bool = False
    minimum_clips: int = 1
    encoders: frozenset[str] = frozenset()
    reference: ReferenceKind = ReferenceKind.STATISTICS
    identity: str = ""
    pooled: bool = False
