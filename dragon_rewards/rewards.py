"""Rewards: each combines a reduction, an encoder and perhaps an exemplar set; `compose` builds one from its name."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol

from dragon_rewards import exemplars
from dragon_rewards.encoders.text_limits import warn_of_cut_texts
from dragon_rewards.errors import ComposeError, DragonError, MissingPromptsError, TooFewClipsError
from dragon_rewards.exemplars import facets as exemplar_facets
from dragon_rewards.exemplars import points as exemplar_points
from dragon_rewards.guard import guarded, output_fault, reason_of
from dragon_rewards.names import RewardName
from dragon_rewards.protocols import Embeddings, Modality, ReferenceKind
from dragon_rewards.registry import load_registry
from dragon_rewards.weights import require_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    import torch
    from torch import Tensor

    from dragon_rewards.media.media import Media
    from dragon_rewards.metrics import Facets, Gaussian, Points
    from dragon_rewards.metrics.gaussian import Moments
    from dragon_rewards.metrics.selection import Expansion
    from dragon_rewards.protocols import (
        Direction,
        EncoderInfo,
        ExemplarSetInfo,
        Reduction,
        ReductionInfo,
        RewardKind,
    )
    from dragon_rewards.registry import Registry

NEAREST = 6  # as many names as a person reads in an error


class AnyReward(Protocol):
    """What a policy is tuned toward: a reward, or a mixture of several rewards."""

    @property
    def name(self) -> str:
        """The name of the reward, or the expression of the mixture."""
        ...

    @property
    def kind(self) -> RewardKind:
        """The kind of reward: whether it judges clips, clips against a distribution, or a whole set."""
        ...

    @property
    def parts(self) -> tuple[Reward, ...]:
        """The rewards that are added up; for a single reward, the reward itself."""
        ...

    @property
    def weights(self) -> tuple[float, ...]:
        """The factor of each part, in the order of `parts`."""
        ...

    def value(self, clips: Media) -> Tensor:
        """Value clips, where higher is better: (clips,), or a scalar for kinds that judge a whole set."""
        ...

    def subsets(self, clips: Media) -> Callable[[Tensor], Tensor]:
        """Prepare to value many subsets of `clips`.

        Returns:
            A function from index rows (subsets, size) to values (subsets,), of which higher is better.
        """
        ...


@dataclass(frozen=True)
class Reward:
    """A reward, which judges clips; `value` and `score` are always better when higher, and `metric` is the raw metric.

    Attributes:
        name: the full name, as `compose` takes it.
        reduction: the descriptor of the reduction.
        encoder: the descriptor of the encoder.
        exemplar_set: the descriptor of the exemplar set; None if the reduction compares with none.
        registry: builds the parts.

    Example:
        >>> reward = compose("vendi:clap")
        >>> reward.name, str(reward.kind)
        ('vendi:clap', 'distribution-to-distribution')
    """

    name: str
    reduction: ReductionInfo
    encoder: EncoderInfo
    exemplar_set: ExemplarSetInfo | None
    registry: Registry = field(repr=False, compare=False)

    @property
    def kind(self) -> RewardKind:
        """The kind of reward: whether it judges clips, clips against a distribution, or a whole set."""
        return self.reduction.kind

    @property
    def parts(self) -> tuple[Reward, ...]:
        """The reward itself, which is its own only part."""
        return (self,)

    @property
    def weights(self) -> tuple[float, ...]:
        """The factor of the reward's only part, which is 1."""
        return (1.0,)

    @property
    def direction(self) -> Direction:
        """Whether a larger or a smaller `metric` is better."""
        return self.reduction.direction

    @property
    def origin(self) -> str:
        """What the values depend on besides the name, as text: plugins with versions, the set's hash, the head's fit.

        It tells results apart from results that were made before a package was updated, a set was changed, or a head
        was fitted again.
        """
        parts = ("register_reductions", self.reduction.name), ("register_encoders", self.encoder.name)
        made = [str(self.registry.owners[part]) for part in parts]
        held = [exemplars.read_manifest(self.exemplar_set.path).sha256] if self.exemplar_set else []
        return "; ".join(filter(None, [*made, *held, self.reduction.identity]))

    def require_weights(self) -> None:
        """Refuse the reward at once if its encoder's weights are not on this machine; nothing is loaded or downloaded.

        Raises:
            WeightsError: weights are missing; the message says how to get them.
        """
        require_weights(f"encoder '{self.encoder.name}'", self.encoder.weights)

    def metric(self, clips: Media) -> Tensor:
        """Compute the raw metric of clips: (clips,), or a scalar for kinds that judge a whole set.

        The result is on the device of the clips, or on the CPU if that device has no float64.

        Raises:
            TooFewClipsError: there are fewer clips than the reduction needs.
            MissingPromptsError: the reduction compares clips with their prompts, and the clips have none.
            DragonError: a part could not be built, or the encoder or the reduction failed.
        """
        embeddings = self._embeddings(clips)
        reduction, reference = self._built(embeddings.device), self.reference(embeddings.device)
        with self._named():
            values = reduction(embeddings, reference)
        return self._checked(values, (len(clips),) if self.kind.per_clip else (), embeddings.device)

    def metric_of_moments(self, moments: Moments) -> Tensor:
        """Compute the raw metric of a set of which only the moments of all frames are kept, by `of_moments`: a scalar.

        Raises:
            DragonError: a part could not be built, or the reduction failed.
        """
        device = moments.mean.device
        reduction: Any = self._built(device)
        reference = self.reference(device)
        with self._named():
            value = reduction.of_moments(moments, reference)
        return self._checked(value, (), device)

    def value(self, clips: Media) -> Tensor:
        """Compute `metric` with the sign that makes higher better; raises as `metric` does."""
        return self.direction.sign * self.metric(clips)

    def score(self, audio: Tensor | Sequence[Tensor], sample_rate: int, prompts: Sequence[str] | None = None) -> Tensor:
        """Compute `value` of audio, and warn of prompts that the encoder cuts; raises as `metric` does.

        Args:
            audio: (clips, samples), (clips, channels, samples), or a sequence of (samples,) or (channels, samples).
            sample_rate: the rate of the audio in Hz.
            prompts: one prompt for each clip, for rewards that compare clips with prompts.
        """
        from dragon_rewards.media.clips import Clips

        clips = Clips(audio, sample_rate, prompts)
        warn_of_cut_prompts([self], clips.prompts or (), clips.device)
        return self.value(clips)

    def embeddings(self, clips: Media) -> Embeddings:
        """Return what the reduction sees of the clips, looked up in the clips' cache if they have one.

        Raises:
            DragonError: the encoder could not be built or failed, or prompts are needed and the clips have none.
        """
        encoder = self.registry.build_encoder(self.encoder.name, clips.device)
        owner = self.registry.owners["register_encoders", self.encoder.name]
        return clips.embeddings(self.encoder, encoder, owner, with_prompts=self.reduction.needs_prompts)

    def subsets(self, clips: Media) -> Callable[[Tensor], Tensor]:
        """Prepare to value many subsets of `clips`.

        Returns:
            A function from index rows (subsets, size) to values (subsets,), of which higher is better.

        Raises:
            DragonError: this kind of reward judges clip by clip; otherwise raised as `metric` does.
        """
        from dragon_rewards.metrics import negated

        if self.kind.per_clip:
            raise DragonError(f"'{self.name}' judges clip by clip; only rewards of whole sets value subsets")
        embeddings = self._embeddings(clips)
        reduction, reference = self._built(embeddings.device), self.reference(embeddings.device)
        prepare = getattr(reduction, "subsets", None)
        with self._named():
            metric = prepare(embeddings, reference) if prepare else _OneByOne(reduction, embeddings, reference)
        return _SubsetValues(self, metric if self.direction.sign > 0 else negated(metric), embeddings.device)

    def _named(self) -> AbstractContextManager[None]:
        """Return a context in which every error names the reward that failed, and the plugin whose code failed."""
        return guarded(self._failed)

    def _failed(self, error: BaseException) -> DragonError:
        from dragon_rewards.compute.devices import is_out_of_memory

        mend = "; judge fewer clips at once, or choose another --device" if is_out_of_memory(error) else ""
        return DragonError(f"reward '{self.name}' failed in {self._code}: {reason_of(error)}{mend}")

    @property
    def _code(self) -> str:
        owner = self.registry.owners["register_reductions", self.reduction.name]
        return f"reduction '{self.reduction.name}' of {owner}"

    def _checked(self, values: Tensor, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """Return the reduction's values if they are what a reduction promises; refuse values that are not finite."""
        fault = output_fault(values, shape, None, device)
        if fault:
            raise DragonError(f"reward '{self.name}' cannot be used: {self._code} {fault}")
        return values

    def _built(self, device: torch.device) -> Reduction:
        return self.registry.build_reduction(self.reduction.name, device)

    def _embeddings(self, clips: Media) -> Embeddings:
        from dragon_rewards.compute.devices import statistics_device

        self.check_count(len(clips))
        if self.reduction.needs_prompts and clips.prompts is None:
            raise MissingPromptsError(f"'{self.name}' compares clips with their prompts: give one prompt for each clip")
        return self.embeddings(clips).to(statistics_device(clips.device))

    def reference(self, device: torch.device) -> Gaussian | Facets | Points | None:
        """Return what the reduction compares with, on a device; None for a reward without an exemplar set.

        Raises:
            DragonError: the set has no statistics, facets or points for this encoder, or they were made with other
                weights.
        """
        if self.exemplar_set is None:
            return None
        finders: Mapping[ReferenceKind, Callable[..., Gaussian | Facets | Points]] = {
            ReferenceKind.STATISTICS: self.registry.reference,
            ReferenceKind.FACETS: self.registry.facets,
            ReferenceKind.POINTS: self.registry.points,
        }
        return finders[self.reduction.reference](self.exemplar_set.name, self.encoder.name, device)

    def check_count(self, clips: int) -> None:
        """Refuse a number of clips that is too small for the reduction.

        Raises:
            TooFewClipsError: the reduction needs more clips.
        """
        if clips < self.reduction.minimum_clips:
            raise TooFewClipsError(
                f"'{self.name}' judges at least {self.reduction.minimum_clips} clips at once, and got {clips}"
            )


@dataclass(frozen=True)
class _SubsetValues:
    """Values of index rows by a reward; rows with too few clips are refused."""

    reward: Reward
    value: Callable[[Tensor], Tensor]
    device: torch.device

    def __call__(self, rows: Tensor) -> Tensor:
        self.reward.check_count(rows.shape[-1])
        with self.reward._named():  # noqa: SLF001  the reward's own values
            values = self.value(rows)
        return self.reward._checked(values, (len(rows),), self.device)  # noqa: SLF001

    @property
    def expansion(self) -> Callable[[Tensor, Tensor, Tensor], Expansion] | None:
        """The expansion with which `metrics.select_positive` takes large steps; None if the value has none."""
        return getattr(self.value, "expansion", None)


@dataclass(frozen=True)
class _OneByOne:
    """Raw metrics of index rows by a reduction that has no method `subsets`, which is called once for each row."""

    reduction: Reduction
    clips: Embeddings
    reference: Gaussian | Facets | Points | None

    def __call__(self, rows: Tensor) -> Tensor:
        import torch

        return torch.stack([self.reduction(self._chosen(row), self.reference) for row in rows])

    def _chosen(self, row: Tensor) -> Embeddings:
        frames = [self.clips.frames[index] for index in row.tolist()]
        return Embeddings(frames, None if self.clips.prompts is None else self.clips.prompts[row])


def compose(name: str, registry: Registry | None = None) -> Reward:
    """Build the reward of this name; `compose(name).name == name`.

    Args:
        name: `<reduction>:<encoder>[@<exemplar set>]`.
        registry: where the parts are looked up; None for all installed parts.

    Raises:
        ComposeError: the name is malformed, or its parts do not fit; the message says why, and names the nearest
            rewards.
        UnknownNameError: no plugin registered one of its parts.
    """
    registry = registry or load_registry()
    parts = RewardName.parse(name)
    reduction, encoder = registry.reduction(parts.reduction), registry.encoder(parts.encoder)
    exemplar_set = None if parts.exemplar_set is None else registry.exemplar_set(parts.exemplar_set)
    reason = misfit(reduction, encoder, exemplar_set)
    if reason:
        raise ComposeError(f"'{name}' does not compose: {reason}{_suggestion(parts, registry)}")
    return Reward(name, reduction, encoder, exemplar_set, registry)


def misfit(reduction: ReductionInfo, encoder: EncoderInfo, exemplar_set: ExemplarSetInfo | None) -> str | None:
    """Say why these parts cannot make a reward; return None if they can."""
    fault = _unlike(reduction, encoder)
    if fault:
        return fault
    if exemplar_set is None:
        return f"'{reduction.name}' compares with an exemplar set: add @<set>" if reduction.needs_reference else None
    if not reduction.needs_reference:
        return f"'{reduction.name}' compares with no exemplar set: leave '@{exemplar_set.name}' out"
    if reduction.reference is ReferenceKind.FACETS:
        return exemplar_facets.facets_fault(exemplar_set, encoder)
    if reduction.reference is ReferenceKind.POINTS:
        return exemplar_points.points_fault(exemplar_set, encoder)
    return _unserved(encoder, exemplar_set)


def _unlike(reduction: ReductionInfo, encoder: EncoderInfo) -> str | None:
    if reduction.encoders and encoder.name not in reduction.encoders:
        return f"'{reduction.name}' works only with encoder {' or '.join(sorted(reduction.encoders))}"
    if encoder.reductions and reduction.name not in encoder.reductions:
        return f"encoder '{encoder.name}' works only with {' or '.join(sorted(encoder.reductions))}"
    if reduction.needs_prompts and Modality.TEXT not in encoder.modalities:
        return f"'{reduction.name}' compares clips with prompts, and encoder '{encoder.name}' embeds no text"
    return None


def _unserved(encoder: EncoderInfo, exemplar_set: ExemplarSetInfo) -> str | None:
    if exemplars.serves(exemplar_set, encoder):
        return None
    if exemplar_set.modality is Modality.TEXT:
        return f"exemplar set '{exemplar_set.name}' is text, and encoder '{encoder.name}' embeds no text"
    if exemplar_set.modality not in encoder.modalities:
        takes, there = " and ".join(sorted(encoder.modalities)), exemplar_set.modality
        return f"exemplar set '{exemplar_set.name}' is {there}, and encoder '{encoder.name}' embeds {takes}"
    known = ", ".join(exemplars.encoders_of(exemplar_set)) or "no encoder"
    return f"exemplar set '{exemplar_set.name}' has no statistics for encoder '{encoder.name}', only for {known}"


def valid_names(registry: Registry) -> list[RewardName]:
    """Return the name of every reward that composes, in the order of registration."""
    parts = product(registry.reductions.values(), registry.encoders.values(), (None, *registry.exemplar_sets.values()))
    return [
        RewardName(reduction.name, encoder.name, chosen.name if chosen else None)
        for reduction, encoder, chosen in parts
        if misfit(reduction, encoder, chosen) is None
    ]


def _suggestion(name: RewardName, registry: Registry) -> str:
    nearest = sorted(valid_names(registry), key=lambda other: _likeness(name, other), reverse=True)[:NEAREST]
    return f"; nearest: {', '.join(map(str, nearest))}" if nearest else ""


def _likeness(name: RewardName, other: RewardName) -> tuple[int, float]:
    shared = (name.reduction == other.reduction, name.encoder == other.encoder, name.exemplar_set == other.exemplar_set)
    return sum(shared), SequenceMatcher(None, str(name), str(other)).ratio()


def warn_of_cut_prompts(rewards: Iterable[Reward], prompts: Sequence[str], device: torch.device) -> None:
    """Log a warning for each encoder that compares clips with these prompts and does not read all of a prompt.

    Raises:
        DragonError: an encoder cannot be built.
    """
    asked = {reward.encoder.name: reward.registry for reward in rewards if reward.reduction.needs_prompts}
    for name, registry in asked.items():
        warn_of_cut_texts(name, registry.build_encoder(name, device), prompts)
