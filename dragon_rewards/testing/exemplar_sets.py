"""The checks of what an exemplar set promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from dragon_rewards import exemplars
from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import Gaussian
from dragon_rewards.protocols import Modality, TextEncoder
from dragon_rewards.terminal.printable import counted
from dragon_rewards.testing.require import require, require_equal, require_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dragon_rewards.protocols import Encoder, EncoderInfo, ExemplarSetInfo
    from dragon_rewards.registry import Registry

REBUILD = "write the folder again with dragon_rewards.exemplars.write_exemplar_set"


@dataclass(frozen=True)
class ExemplarSetCase:
    """An exemplar set, and the registry of the encoders that are installed."""

    info: ExemplarSetInfo
    registry: Registry

    def stored(self) -> dict[str, Gaussian]:
        """Return the statistics that the set stores, by encoder name."""
        names = exemplars.encoders_of(self.info)
        return {name: Gaussian.from_tensors(load_file(self.info.path / f"{name}.safetensors")) for name in names}

    def served(self) -> Iterator[tuple[EncoderInfo, Encoder]]:
        """Yield the installed encoders that the set serves and whose weights are here, with their descriptors."""
        for info in self.registry.encoders.values():
            if exemplars.serves(self.info, info):
                try:
                    yield info, self.registry.build_encoder(info.name)
                except DragonError:  # an encoder that cannot be built is no fault of the set
                    continue


def prepare(name: str, registry: Registry) -> ExemplarSetCase:
    """Return the case of a registered exemplar set; nothing is read before a check needs it."""
    return ExemplarSetCase(registry.exemplar_set(name), registry)


def facts(case: ExemplarSetCase) -> None:
    """Check that the set has examples, and says what they are, where they are from and under which licence."""
    require(case.info.count > 0, "a set that is not empty", f"count {case.info.count}", "add examples")
    require_texts(case.info, "licence", "summary")
    require_texts(exemplars.read_manifest(case.info.path), "provenance")


def manifest(case: ExemplarSetCase) -> None:
    """Check that the manifest can be read, and that the descriptor agrees with it."""
    recorded = exemplars.load_exemplar_set(case.info.path)
    mend = "register load_exemplar_set(folder), not facts written by hand"
    require(recorded == case.info, f"a descriptor as in the manifest: {recorded}", f"{case.info}", mend)


def content_hash(case: ExemplarSetCase) -> None:
    """Check that the files are the ones that the manifest was written for, by their SHA-256."""
    recorded, found = exemplars.read_manifest(case.info.path).sha256, exemplars.content_hash(case.info.path)
    mend = f"undo the change of captions or statistics, or {REBUILD}"
    require(found == recorded, f"files of the manifest's SHA-256 {recorded}", found, mend)


def count(case: ExemplarSetCase) -> None:
    """Check that a text set has as many captions as it counts, and an audio set as many as examples, or none."""
    lines = len(exemplars.captions(case.info))
    allowed = {case.info.count} if case.info.modality is Modality.TEXT else {0, case.info.count}
    require(lines in allowed, f"a caption for each of {case.info.count} examples", counted(lines, "caption"), REBUILD)


def statistics(case: ExemplarSetCase) -> None:
    """Check that the statistics load, and that an audio set has some.

    Loading refuses a covariance that is not symmetric and positive semi-definite.
    """
    stored = case.stored()
    found = stored or case.info.modality is Modality.TEXT
    require(found, "an audio set has statistics, as it ships without audio", "no .safetensors file", REBUILD)


def identities(case: ExemplarSetCase) -> None:
    """Check that stored statistics have the dimension and the identity of the installed encoder."""
    installed = case.registry.encoders
    for name, gaussian in case.stored().items():
        fits = name not in installed or installed[name].dim == gaussian.dim
        require(fits, f"statistics of the dimension of encoder '{name}'", f"{gaussian.dim}", REBUILD)
    for info, encoder in case.served():
        exemplars.reference(case.info, info, encoder)  # refuses statistics of another identity, and names both


def captions(case: ExemplarSetCase) -> None:
    """Check that every installed text encoder embeds the captions, and that this gives the stored statistics."""
    stored, texts = case.stored(), exemplars.captions(case.info)
    for info, encoder in case.served():
        if not isinstance(encoder, TextEncoder):
            continue
        gaussian = _encoded(texts, encoder)
        require(gaussian.dim == info.dim, f"embeddings of {info.dim} values", f"{gaussian.dim}", "mend the encoder")
        if info.name in stored:
            promised = f"statistics of encoder '{info.name}' that equal the statistics of the captions"
            require_equal(stored[info.name].mean, gaussian.mean, promised, REBUILD)
            require_equal(stored[info.name].covariance, gaussian.covariance, promised, REBUILD)


def _encoded(texts: list[str], encoder: TextEncoder) -> Gaussian:
    size = exemplars.TEXT_BATCH
    with torch.no_grad():
        batches = [encoder.encode_text(texts[at : at + size]) for at in range(0, len(texts), size)]
    return Gaussian.fit(torch.cat(batches))
