"""What plugins register (light descriptors) and what those build (encoders, reductions).

Descriptors hold names and facts only, so listing them imports neither torch nor any model; the model is built by
calling `factory` on first use.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch
    from torch import Tensor


class Modality(StrEnum):
    """What an example is made of."""

    AUDIO = "audio"
    IMAGE = "image"
    TEXT = "text"


class RewardKind(StrEnum):
    """What a reward judges (DRAGON, arXiv 2504.15217)."""

    INSTANCE = "instance"
    INSTANCE_TO_DISTRIBUTION = "instance-to-distribution"
    DISTRIBUTION_TO_DISTRIBUTION = "distribution-to-distribution"

    @property
    def per_clip(self) -> bool:
        """Whether every clip gets a value of its own; otherwise the whole set gets one."""
        return self is not RewardKind.DISTRIBUTION_TO_DISTRIBUTION


class ReferenceKind(StrEnum):
    """What of an exemplar set a reduction compares with."""

    STATISTICS = "statistics"  # a metrics.Gaussian of all frames
    FACETS = "facets"  # metrics.Facets, which `dragon exemplars facets` makes


class Direction(StrEnum):
    """Whether a larger or a smaller metric is better; a reward is always maximised."""

    HIGHER = "higher"
    LOWER = "lower"

    @property
    def sign(self) -> int:
        """+1 or -1: reward = sign * metric."""
        return 1 if self is Direction.HIGHER else -1


@runtime_checkable
class Encoder(Protocol):
    """Turns media into embeddings, by a tower for each modality that its descriptor lists.

    `identity` fingerprints weights and preprocessing: statistics that were computed under another one are refused.

    The factory builds it on the CPU, and it is asked there and on other devices: rewards copy it to the device of what
    it judges, once, with all tensors that it reaches through attributes, containers and closures (in float64 where the
    device has that). Frames are on the device of the media. What it makes on the way it makes there
    (`device=audio.device`), and what it computes elsewhere, as a server does, it brings back; it moves nothing of its
    own.
    """

    identity: str


@runtime_checkable
class AudioEncoder(Encoder, Protocol):
    """An encoder that hears."""

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Mono audio (clips, samples) at the descriptor's sample rate -> float32 frames (clips, frames, dim)."""
        ...


@runtime_checkable
class ImageEncoder(Encoder, Protocol):
    """An encoder that sees."""

    def encode_image(self, images: Tensor) -> Tensor:
        """RGB images (images, 3, height, width) in [0, 1] -> float32 frames (images, frames, dim)."""
        ...


@runtime_checkable
class TextEncoder(Encoder, Protocol):
    """An encoder that reads; with another tower, in the space of that one."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Texts -> float32 embeddings (texts, dim)."""
        ...


@runtime_checkable
class BoundedTextEncoder(TextEncoder, Protocol):
    """An encoder that reads only the beginning of a long text, and says how much: people are told of texts it cuts.

    `token_limit` is the most tokens that it reads of a text, as `count_tokens` counts them.
    """

    token_limit: int

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        """How many tokens each whole text has, with the marks of beginning and end if those count, too."""
        ...


@dataclass(frozen=True)
class Embeddings:
    """What a reduction sees of a set of clips.

    Attributes:
        frames: per clip a float32 matrix (frames, dim); clips may differ in their number of frames.
        prompts: the prompts in the same space, (clips, dim), for reductions that declare `needs_prompts`.
    """

    frames: Sequence[Tensor]
    prompts: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where they are, all of them."""
        return self.frames[0].device

    def to(self, device: torch.device) -> Embeddings:
        """The same on another device, in one transfer; gradients flow through it."""
        if device == self.device:
            return self
        from torch import cat

        frames = cat(list(self.frames)).to(device).split([len(clip) for clip in self.frames])
        return Embeddings(frames, None if self.prompts is None else self.prompts.to(device))


class Reduction(Protocol):
    """Turns embeddings, and the reference where the descriptor wants one, into raw metric values.

    Like an encoder, it is copied to the device of the embeddings with all tensors that it holds; there the reference
    is, too. Embeddings come on the CPU where their own device has no float64.

    The reference is a `metrics.Gaussian`, or `metrics.Facets` where the descriptor's `reference` says so; None without
    an exemplar set. A reduction annotates the one that it declares.

    Kinds that judge clips return (clips,); distribution kinds return a scalar: finite, of floating point, and on the
    device of the embeddings, or the reward is refused. A distribution reduction may also have
    `subsets(clips, reference) -> Callable[[Tensor], Tensor]`: the metric of many subsets of these clips at once, from
    index rows (subsets, size) to (subsets,). Selection and evaluation use it; without it the reduction is called once
    per subset.
    """

    def __call__(self, clips: Embeddings, reference: Any) -> Tensor:
        """The raw metric of `clips`."""
        ...


class SubsetReduction(Reduction, Protocol):
    """A distribution reduction that prepares once and then values many subsets."""

    def subsets(self, clips: Embeddings, reference: Any) -> Callable[[Tensor], Tensor]:
        """Prepare for `clips`; the result maps index rows (subsets, size) to raw metrics (subsets,)."""
        ...


@dataclass(frozen=True)
class Weights:
    """Weights that a part loads and its package does not bring: `dragon doctor` says whether they are there.

    Attributes:
        source: `owner/name` on the Hugging Face hub, or the address of a single file.
        files: patterns of the files that are needed, `|` between alternatives; of an address the name of the file.
        folder: below `$DRAGON_WEIGHTS`, where the user may put them; empty where that is not looked at.
        size: bytes to download; None where nobody has said.
        gated: whether its page asks to accept a licence before it lets anyone download; None where nobody has said.
        revision: of a repository on the hub, a commit, tag or branch; None is its newest.
    """

    source: str
    files: tuple[str, ...]
    folder: str = ""
    size: int | None = None
    gated: bool | None = None
    revision: str | None = None


@dataclass(frozen=True)
class EncoderInfo:
    """A registered encoder: `dim` values per frame, fed mono audio at `sample_rate` Hz (0 if it hears no audio).

    Attributes:
        space: the name under which exemplar sets keep statistics of its space, where that is not its own.
        weights: what it loads that its package does not bring.
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


@dataclass(frozen=True)
class ExemplarSetInfo:
    """A registered exemplar set: `path` is a folder with manifest.json, captions and reference statistics."""

    name: str
    modality: Modality
    count: int
    licence: str
    summary: str
    path: Path


@dataclass(frozen=True)
class ReductionInfo:
    """A registered reduction.

    Attributes:
        needs_reference: whether a reward of it names an exemplar set.
        needs_prompts: whether it compares clips with their prompts, through the encoder's text tower.
        minimum_clips: the fewest clips it can judge.
        encoders: the encoders it is tied to (a head fitted in one space); empty for any.
        reference: what of the exemplar set it compares with.
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
