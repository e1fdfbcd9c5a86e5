"""The registry of installed encoders, exemplar sets and reductions, by name; each is built when it is first used."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, partial
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

from dragon_rewards import exemplars, hookspecs
from dragon_rewards.errors import DragonError, UnknownNameError
from dragon_rewards.exemplars import facets as exemplar_facets
from dragon_rewards.exemplars import points as exemplar_points
from dragon_rewards.exemplars.store import broken_sets
from dragon_rewards.guard import guarded, reason_of
from dragon_rewards.heads import broken_heads
from dragon_rewards.plugins import PluginGroup, load_plugins
from dragon_rewards.protocols import (
    AudioEncoder,
    Encoder,
    EncoderInfo,
    ExemplarSetInfo,
    ImageEncoder,
    Modality,
    ReductionInfo,
    TextEncoder,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from dragon_rewards.compute.placement import Placement
    from dragon_rewards.metrics import Facets, Gaussian, Points
    from dragon_rewards.plugins import PluginFailure, PluginRecord
    from dragon_rewards.protocols import Reduction

T = TypeVar("T")
R = TypeVar("R", "Gaussian", "Facets", "Points")

TOWERS = {
    Modality.AUDIO: AudioEncoder,
    Modality.IMAGE: ImageEncoder,
    Modality.TEXT: TextEncoder,
}

GROUP = PluginGroup(
    project=hookspecs.PROJECT,
    hookspecs=hookspecs,
    descriptors={
        "register_encoders": EncoderInfo,
        "register_exemplar_sets": ExemplarSetInfo,
        "register_reductions": ReductionInfo,
    },
    builtins=("dragon_rewards.builtin",),
    restrict="DRAGON_REWARDS_PLUGINS",
    fallbacks=("dragon_rewards.remote.plugin", "dragon_rewards.exemplars.plugin", "dragon_rewards.fitting.plugin"),
)


@dataclass(frozen=True, eq=False)
class Registry:
    """Everything that plugins registered; models and reference statistics are built once, when first asked for.

    Attributes:
        encoders: name -> descriptor of an encoder.
        exemplar_sets: name -> descriptor of an exemplar set.
        reductions: name -> descriptor of a reduction.
        owners: (hook name, name) -> the plugin that registered it.
        plugins: the plugins that loaded, which are recorded with every result.
        failures: the plugins that did not load, with the reasons.
    """

    encoders: Mapping[str, EncoderInfo]
    exemplar_sets: Mapping[str, ExemplarSetInfo]
    reductions: Mapping[str, ReductionInfo]
    owners: Mapping[tuple[str, str], PluginRecord]
    plugins: tuple[PluginRecord, ...]
    failures: tuple[PluginFailure, ...]
    _built: dict[tuple[str, ...], Any] = field(default_factory=dict, repr=False)
    _lock: RLock = field(default_factory=RLock, repr=False)

    def encoder(self, name: str) -> EncoderInfo:
        """Return the descriptor of an encoder.

        Raises:
            UnknownNameError: no encoder is registered under this name.
        """
        return self._find("encoder", name, self.encoders)

    def exemplar_set(self, name: str) -> ExemplarSetInfo:
        """Return the descriptor of an exemplar set.

        Raises:
            UnknownNameError: no exemplar set is registered under this name.
        """
        return self._find("exemplar set", name, self.exemplar_sets)

    def reduction(self, name: str) -> ReductionInfo:
        """Return the descriptor of a reduction.

        Raises:
            UnknownNameError: no reduction is registered under this name.
        """
        return self._find("reduction", name, self.reductions)

    def build_encoder(self, name: str, device: torch.device | None = None) -> Encoder:
        """Return the encoder itself, built once: as its factory left it, or its copy on a device.

        There is one copy for each device, and it is never moved again.

        Args:
            name: the encoder's name.
            device: where the copy is to be; None for the encoder that the factory returned.

        Raises:
            UnknownNameError: no encoder is registered under this name.
            DragonError: its factory failed or returned something that is no such encoder, or it cannot be copied to the
                device.
        """
        info = self.encoder(name)
        built: Encoder = self._once(("register_encoders", name), lambda: _encoder(info), device)
        return built

    def build_reduction(self, name: str, device: torch.device | None = None) -> Reduction:
        """Return the reduction itself, built once: as its factory left it, or its copy on a device.

        Args:
            name: the reduction's name.
            device: where the copy is to be; None for the reduction that the factory returned.

        Raises:
            UnknownNameError: no reduction is registered under this name.
            DragonError: its factory failed, or it cannot be copied to the device.
        """
        built: Reduction = self._once(("register_reductions", name), self.reduction(name).factory, device)
        return built

    def reference(self, exemplar_set: str, encoder: str, device: torch.device) -> Gaussian:
        """Return the Gaussian of an exemplar set in an encoder's space, on the device of the clips' embeddings.

        Raises:
            DragonError: the set has no statistics for this encoder, or they were made with other weights.
        """
        owner = self.owners.get(("register_encoders", encoder))
        read = partial(exemplars.reference, owner=owner, device=device)
        return self._kept("reference", exemplar_set, encoder, device, read)

    def facets(self, exemplar_set: str, encoder: str, device: torch.device) -> Facets:
        """Return the facets of an exemplar set in an encoder's space, on the device of the clips' embeddings.

        Raises:
            DragonError: the set has no facets for this encoder, or they were made of other items or with other weights.
        """
        return self._kept("facets", exemplar_set, encoder, device, exemplar_facets.read_facets)

    def points(self, exemplar_set: str, encoder: str, device: torch.device) -> Points:
        """Return the points of an exemplar set in an encoder's space, on the device of the clips' embeddings.

        Raises:
            DragonError: the set has neither points for this encoder nor audio that it can embed.
        """
        owner = self.owners.get(("register_encoders", encoder))
        read = partial(exemplar_points.points_of, owner=owner, device=device)
        return self._kept("points", exemplar_set, encoder, device, read)

    def _kept(
        self,
        what: str,
        exemplar_set: str,
        encoder: str,
        device: torch.device,
        read: Callable[[ExemplarSetInfo, EncoderInfo, Encoder], R],
    ) -> R:
        key = (what, exemplar_set, encoder, str(device))
        with self._lock:
            if key not in self._built:
                infos = self.exemplar_set(exemplar_set), self.encoder(encoder)
                self._built[key] = read(*infos, self.build_encoder(encoder, device)).to(device)
        found: R = self._built[key]
        return found

    def _find(self, what: str, name: str, known: Mapping[str, T]) -> T:
        if name not in known:
            raise UnknownNameError(what, name, known, map(str, self.failures))
        return known[name]

    def _once(self, key: tuple[str, str], factory: Callable[[], Any], device: torch.device | None) -> Any:
        with self._lock:
            if key not in self._built:
                self._built[key] = self._guarded(key, factory, "built")
            if device is None:
                return self._built[key]
            placed = (*key, str(device))
            if placed not in self._built:
                copied = partial(self._placement(device).copy_of, self._built[key])
                self._built[placed] = self._guarded(key, copied, f"copied to {device}")
            return self._built[placed]

    def _placement(self, device: torch.device) -> Placement:
        from dragon_rewards.compute.placement import Placement

        kept: Placement = self._built.setdefault(("placement", str(device)), Placement(device))
        return kept

    def _guarded(self, key: tuple[str, str], make: Callable[[], Any], done: str) -> Any:
        hook, name = key
        what = hook.removeprefix("register_").removesuffix("s")

        def refusal(error: BaseException) -> DragonError:
            return DragonError(f"{what} '{name}' of {self.owners[key]} could not be {done}: {reason_of(error)}")

        with guarded(refusal):
            try:
                return make()
            except DragonError as error:  # its own message may not say which part failed
                raise refusal(error) from error


def _encoder(info: EncoderInfo) -> Encoder:
    encoder = info.factory()
    for modality in sorted(info.modalities):
        if not isinstance(encoder, TOWERS[modality]):
            raise TypeError(f"its factory returned {type(encoder).__name__}, which is no {TOWERS[modality].__name__}")
    return encoder


@cache
def load_registry() -> Registry:
    """Return the registry of all built-in and installed parts, which is loaded once for each process."""
    loaded = load_plugins(GROUP)
    return Registry(
        encoders=loaded.descriptors["register_encoders"],
        exemplar_sets=loaded.descriptors["register_exemplar_sets"],
        reductions=loaded.descriptors["register_reductions"],
        owners=loaded.owners,
        plugins=loaded.plugins,
        failures=(*loaded.failures, *broken_sets(), *broken_heads()),
    )
