"""Describe the published models that have a name here: where their weights are, and which of them are to be trained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from dragon_rewards.protocols import Weights
from dragon_rewards.storage.decoding import read_toml
from dragon_rewards.weights import INDEX, VARIABLE, require_weights, weights_folder
from dragon_train.descriptors import IN_FULL, Loading, PipelineInfo

if TYPE_CHECKING:
    from dragon_train.protocols import Policy


@dataclass(frozen=True)
class Model:
    """A published model, as `models.toml` has it.

    Attributes:
        hub: its name on the hub.
        adapter: the name of the adapter that takes its class.
        summary: what it makes.
        licence: the licence of its weights, as its model card states it.
        gated: whether a licence must be accepted before the download; None if that is not known.
        base: the name of the model to train instead, if this one is post-trained; empty if it is not.
        convert: the commands that write its weights as diffusers saves them; empty if they are published so.
        tune_gb: the memory of a card that tunes it by LoRA, in GB of 10^9 bytes; None if that was not counted.
        sample_gb: the memory of a card that samples and decodes a clip, alike.
    """

    hub: str
    adapter: str
    summary: str
    licence: str
    gated: bool | None = None
    base: str = ""
    convert: str = ""
    tune_gb: float | None = None
    sample_gb: float | None = None

    def info(self, name: str) -> PipelineInfo:
        """Return the descriptor of this model under a name; one that is converted is searched below $DRAGON_WEIGHTS."""
        folder = name if self.convert else ""
        command = self.convert.format(folder=f"${VARIABLE}/{name}")
        weights = Weights(self.hub, (INDEX,), folder, gated=self.gated, convert=command)
        summary, factory = f"{self.hub}: {self.summary}", partial(downloaded, weights)
        return PipelineInfo(name, summary, self.licence, factory, (weights,), self.adapter, self.base)


def models() -> dict[str, Model]:
    """Return the published models that have a name here, by this name."""
    return read_toml(Path(str(files("dragon_train"))) / "models.toml", dict[str, Model], "install it again")


def downloaded(weights: Weights, loading: Loading = IN_FULL) -> Policy:
    """Load the policy of a pipeline from the hub, from the hub's cache on this machine, or from where it was converted.

    Raises:
        WeightsError: it has to be converted, and is not; the message has the commands.
        DragonError: it cannot be loaded.
    """
    from dragon_train.registry import load_train_registry

    source = weights.source
    if weights.convert:
        require_weights(f"pipeline '{weights.folder}'", [weights])
        source = str(weights_folder(weights))
    return load_train_registry().pipeline(source).factory(loading)
