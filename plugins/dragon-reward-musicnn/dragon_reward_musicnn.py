"""The encoders `musicnn`, `musicnn-msd` and `musicnn-tags`, and the reduction `tag-agreement`.

musicnn (Pons and Serra, arXiv 1909.06654) was trained to tag real music. Its weights come with this package, so that it
hears on a machine without a network. They were converted by convert.py from the PyPI package musicnn, whose licence is
in dragon_reward_musicnn_weights/NOTICE.txt.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dragon_reward_musicnn_tags import MSD_TAGS, MTT_TAGS, TagAgreement, tag_vectors

from dragon_rewards import (
    Direction,
    EncoderInfo,
    Modality,
    ReductionInfo,
    RewardKind,
    WeightsError,
    fingerprint_files,
    hookimpl,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dragon_reward_musicnn_network import FrontEnd, Layers, Network
    from torch import Tensor

WEIGHTS = Path(__file__).parent / "dragon_reward_musicnn_weights"
MTT, MSD = WEIGHTS / "mtt.safetensors", WEIGHTS / "msd.safetensors"
STATISTICS = Path(__file__).parent / "dragon_reward_musicnn_statistics"  # of the sets that dragon-rewards ships
HOP = 93  # frames from patch to patch, 1.5 s: half a patch
LICENCE = "ISC"
SHOWN = 3  # prompts that a warning quotes

log = logging.getLogger(__name__)


class Musicnn:
    """An encoder of 200 values, the layer before the tags, for every 1.5 s; a clip below 2.976 s has no frames.

    Attributes:
        hop: the frames of 16 ms from one patch of 3 s to the next.
        tags: the names of the 50 tags, in the order of the network's outputs.
    """

    def __init__(self, weights: Path = MTT, hop: int = HOP) -> None:
        """Read the weights of one of the two networks.

        Raises:
            WeightsError: the file is missing or damaged, or holds another network.
        """
        from dragon_reward_musicnn_network import FrontEnd

        self.network: Network = load_network(weights)
        self.front_end: FrontEnd = FrontEnd()
        self.hop, self.tags = hop, MSD_TAGS if weights.name == MSD.name else MTT_TAGS
        self.identity = fingerprint_files(f"musicnn-1-{hop}", [weights])  # 1 is the front end

    def layers(self, audio: Tensor) -> Layers:
        """Compute what the network hears in each patch: tensors (clips, patches, values).

        Args:
            audio: mono, (clips, samples) at 16 kHz.
        """
        import torch
        from dragon_reward_musicnn_network import BANDS, BATCH, PATCH, SHORTEST, Layers

        if audio.shape[1] < SHORTEST:
            nothing: Layers = self.network(audio.new_zeros(0, PATCH, BANDS))
            return nothing.map(lambda layer: _empty(layer, len(audio)))
        patches = self.front_end(audio).unfold(1, PATCH, self.hop).transpose(2, 3)
        parts = [self.network(batch) for batch in patches.flatten(0, 1).split(BATCH)]
        joined = Layers(*(torch.cat(layers) for layers in zip(*map(_values, parts), strict=True)))
        return joined.map(lambda layer: layer.unflatten(0, patches.shape[:2]))

    def probabilities(self, audio: Tensor) -> Tensor:
        """Return the probability of each of `tags` in each patch, (clips, patches, 50)."""
        return self.layers(audio).logits.sigmoid()

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Return the float32 frames (clips, patches, 200) of mono audio (clips, samples) at 16 kHz."""
        return self.layers(audio).penultimate


class MusicnnTags(Musicnn):
    """An encoder of the log-odds of the 50 tags of MagnaTagATune, and of prompts as the tags that they name."""

    def __init__(self) -> None:
        super().__init__()
        self.identity = self.identity.replace("musicnn", "musicnn-tags", 1)
        self._warned: set[str] = set()

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Return the float32 log-odds (clips, patches, 50) of mono audio (clips, samples) at 16 kHz."""
        return self.layers(audio).logits

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Return 1 for each tag that a text names and 0 for the others, (texts, 50).

        Texts that name none are counted in a warning, each text once.
        """
        vectors = tag_vectors(texts)
        self._warn([text for text, vector in zip(texts, vectors, strict=True) if not any(vector)], len(set(texts)))
        made: Tensor = self.network.tags.bias.new_tensor(vectors).reshape(-1, len(MTT_TAGS))
        return made

    def _warn(self, without: Sequence[str], of: int) -> None:
        new = [text for text in dict.fromkeys(without) if text not in self._warned]
        self._warned |= set(new)
        if new:
            quoted = ", ".join(repr(text) for text in new[:SHOWN])
            log.warning(
                "%d of %d different prompts name no instrument, style or tempo that 'musicnn-tags' knows (%s): the "
                "agreement of their clips is 0 whatever they sound like; leave them out, or name one of its tags",
                *(len(new), of, quoted),
            )


def _values(layers: Layers) -> tuple[Tensor, Tensor, Tensor]:
    return layers.mean, layers.penultimate, layers.logits


def _empty(layer: Tensor, clips: int) -> Tensor:
    return layer.new_zeros(clips, 0, layer.shape[-1])


def load_network(weights: Path) -> Network:
    """Load a network from the file that convert.py wrote, frozen.

    Raises:
        WeightsError: the file is missing or damaged, or holds another network.
    """
    from dragon_reward_musicnn_network import Network
    from safetensors.torch import load_file

    network = Network()
    try:
        network.load_state_dict(load_file(weights))
    except Exception as error:  # safetensors and torch raise errors of several kinds
        raise WeightsError(
            f"{weights}, which comes with dragon-reward-musicnn, cannot be read ({error}); install the package again: "
            "pip install --force-reinstall --no-deps ./plugins/dragon-reward-musicnn"
        ) from error
    return network.eval().requires_grad_(requires_grad=False)


@hookimpl
def register_encoders(register: Callable[[EncoderInfo], None]) -> None:
    """Register the encoders; their weights come with this package."""
    audio, text = frozenset({Modality.AUDIO}), frozenset({Modality.TEXT})
    heard = "heard real music (MagnaTagATune): styles and instruments, a frame per 1.5 s"
    register(EncoderInfo("musicnn", audio, 200, 16_000, LICENCE, heard, Musicnn, statistics=STATISTICS))
    other = "heard real music (Million Song Dataset): styles of popular music, a frame per 1.5 s"
    register(EncoderInfo("musicnn-msd", audio, 200, 16_000, LICENCE, other, partial(Musicnn, MSD)))
    tags = "log-odds of 50 tags of MagnaTagATune, and the tags that a prompt names"
    form, agreement = (audio | text, len(MTT_TAGS), 16_000, LICENCE, tags), frozenset({"tag-agreement"})
    register(EncoderInfo("musicnn-tags", *form, MusicnnTags, reductions=agreement))


@hookimpl
def register_reductions(register: Callable[[ReductionInfo], None]) -> None:
    """Register `tag-agreement`, which reads the tags of `musicnn-tags` and of nothing else."""
    register(
        ReductionInfo(
            name="tag-agreement",
            kind=RewardKind.INSTANCE,
            direction=Direction.HIGHER,
            summary="how probable the instrument, style or tempo of a prompt is in its clip",
            factory=TagAgreement,
            needs_prompts=True,
            encoders=frozenset({"musicnn-tags"}),
        )
    )
