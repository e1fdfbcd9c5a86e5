"""Find and read what ships of real held-out music for the embedded pipeline.

No audio is shipped: a table of what rewards say of real clips, and the latents of a few of them.
`reports/embedded/measure_real.py` makes both.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dragon_rewards import load_registry
from dragon_rewards.errors import DragonError
from dragon_rewards.storage.decoding import decode_json
from dragon_rewards.storage.tensor_files import check_tensors, read_tensors, write_tensors
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from torch import Tensor

    from dragon_rewards.evaluation.tracks import Track

VALUES = Path(str(files("dragon_train.embedded"))) / "real_music.csv"
LATENTS = Path(str(files("dragon_train.embedded"))) / "real_latents.safetensors"  # of tunebook
OF_SETS = {"tunebook": LATENTS, "airs": LATENTS.with_name("real_latents_airs.safetensors")}
AGAIN = "install the package again, or make it by reports/embedded/measure_real.py"
AUTOENCODER, CAPTIONS = "autoencoder", "captions"  # of the metadata of the file

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RealLatents:
    """The most likely latents of real clips under the pipeline's autoencoder.

    Attributes:
        latents: float32, (clips, channels, frames).
        captions: the text of each clip.
        autoencoder: the identity of the autoencoder.
    """

    latents: Tensor
    captions: tuple[str, ...]
    autoencoder: str

    def save(self, path: Path) -> None:
        """Write the latents to a safetensors file in half precision, with the rest in its metadata."""
        said = {AUTOENCODER: self.autoencoder, CAPTIONS: json.dumps(self.captions)}
        write_tensors(path, {"latents": self.latents.half()}, said)

    @classmethod
    def load(cls, path: Path) -> RealLatents:
        """Read the latents that `save` wrote.

        Raises:
            DragonError: the file is missing or damaged, or has not one caption for each clip.
        """
        tensors, said = read_tensors(path, AGAIN)
        check_tensors(tensors, {"latents": ("float", "clips", "channels", "frames")}, f"'{path}'", AGAIN)
        captions = decode_json(said.get(CAPTIONS, "[]"), tuple[str, ...], f"'{path}': {CAPTIONS}", AGAIN)
        if len(captions) != len(tensors["latents"]):
            raise DragonError(
                f"'{path}' has {counted(len(captions), 'caption')} of {len(tensors['latents'])} clips; {AGAIN}"
            )
        return cls(tensors["latents"].float(), captions, said.get(AUTOENCODER, ""))


def fitting_latents(path: Path = LATENTS) -> RealLatents | None:
    """Return the shipped latents; None, with a warning, where they are of another autoencoder than is installed.

    Raises:
        DragonError: the file is damaged.
    """
    if not path.exists():
        log.warning("no latents of real clips: '%s' is not there; %s", path, AGAIN)
        return None
    found, installed = RealLatents.load(path), autoencoder_identity()
    if found.autoencoder != installed:
        log.warning("'%s' is of autoencoder %s, not of %s; %s", path, found.autoencoder, installed, AGAIN)
        return None
    return found


def real_tracks(name: str) -> list[Track]:
    """Return real clips of a shipped exemplar set, one of `OF_SETS`, as the embedded autoencoder decodes them.

    Raises:
        DragonError: their latents are not there, or are of another autoencoder.
    """
    import torch

    from dragon_rewards.evaluation.tracks import Track

    found = fitting_latents(OF_SETS[name])
    if found is None:
        raise DragonError(f"there are no real clips of '{name}' for this autoencoder; {AGAIN}")
    encoder: Any = load_registry().build_encoder("vae")
    with torch.no_grad():
        audio = [encoder.autoencoder.decode(part).sample.mean(1)[0] for part in found.latents.split(1)]
    rate = load_registry().encoder("vae").sample_rate
    return [Track(f"{name} {number}", each, rate) for number, each in enumerate(audio, 1)]


def autoencoder_identity() -> str:
    """Return the identity of the autoencoder that is installed, a digest of its weights."""
    return load_registry().build_encoder("vae").identity
