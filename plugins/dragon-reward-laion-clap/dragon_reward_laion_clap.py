"""LAION-CLAP's music model (arXiv 2211.06687), run by its authors' package `laion-clap`.

Audio is prepared as fadtk's `clap-laion-music` does it: samples are quantised to 16 bits, a window of 10 s starts every
second while there is audio left, and what a window lacks at the end is zero.
"""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dragon_rewards import EncoderInfo, Modality, Weights, WeightsError, find_weights, fingerprint_files, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

NAME, DIM, SAMPLE_RATE = "laion-clap", 512, 48_000
WINDOW, HOP = 10 * SAMPLE_RATE, SAMPLE_RATE
BATCH = 16  # windows per pass: bounds the memory of long clips
LONGEST_TEXT = 77  # tokens, as the model was trained
REPOSITORY, CHECKPOINT = "lukewys/laion_clap", "music_audioset_epoch_15_esc_90.14.pt"
TEXT_REPOSITORY, TEXT_FILES = "FacebookAI/roberta-base", ("config.json", "tokenizer.json")
NETWORK = "HTSAT-base"  # the one of laion_clap's configurations that the checkpoint has
TRAINING_ONLY = "torchvision.ops.misc"


class LaionClap:
    """An encoder of audio and text: a frozen `laion_clap` network and its tokenizer."""

    token_limit = LONGEST_TEXT

    # laion_clap has no types, and transformers' tokenizers no usable ones.
    def __init__(self, network: Any, tokenizer: Any, identity: str) -> None:
        """Take a CLAP without fusion and a RobertaTokenizer."""
        self.network, self.tokenizer, self.identity = network, tokenizer, identity

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Return the unit frames (clips, seconds, 512) of mono audio (clips, samples) at 48 kHz.

        A second that has begun counts.
        """
        import torch

        windows = cut(quantise(audio))
        clips, count, _ = windows.shape
        parts = torch.arange(clips * count).split(BATCH)
        embedded = [self._embed(windows[part // count, part % count]) for part in parts]
        return torch.cat(embedded).reshape(clips, count, DIM)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each whole text, with the marks of beginning and end."""
        return [len(row) for row in self.tokenizer(list(texts), verbose=False)["input_ids"]]

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Return the unit embeddings (texts, 512) of texts, each cut to 77 tokens."""
        tokens = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=LONGEST_TEXT, return_tensors="pt"
        )
        embedded: Tensor = self.network.get_text_embedding(tokens)
        return embedded

    def _embed(self, windows: Tensor) -> Tensor:
        embedded: Tensor = self.network.get_audio_embedding([{"waveform": window} for window in windows])
        return embedded


def quantise(audio: Tensor) -> Tensor:
    """Round audio to the values of 16-bit samples, cut off towards zero; gradients pass as if nothing had been done."""
    steps = (audio.detach().clamp(-1, 1) * 32767).trunc()
    return steps / 32767 + (audio - audio.detach())


def cut(audio: Tensor) -> Tensor:
    """Cut audio (clips, samples) into windows (clips, seconds begun, 480000), padded with zeros past the end."""
    from torch.nn.functional import pad

    samples = audio.shape[-1]
    return pad(audio, (0, -samples % HOP + WINDOW - HOP)).unfold(-1, WINDOW, HOP)


def load_encoder() -> LaionClap:
    """Load the encoder `laion-clap` from the user's weights, in float32.

    Raises:
        WeightsError: the checkpoint or RoBERTa's configuration and tokenizer are missing, or are something else.
    """
    from transformers import RobertaTokenizer

    checkpoint = find_weights(NAME, REPOSITORY, [CHECKPOINT]) / CHECKPOINT
    text = find_weights(NAME, TEXT_REPOSITORY, TEXT_FILES)
    network = build_network(text)
    try:
        network.load_state_dict(read_checkpoint(checkpoint))
    except RuntimeError as error:
        raise WeightsError(f"{checkpoint} is not the checkpoint {CHECKPOINT} of {REPOSITORY}: {error}") from error
    # One by one: the same files count in the same order, whether they lie in one folder or in two.
    identity = fingerprint_files(fingerprint_files(NAME, [checkpoint]), [text / file for file in TEXT_FILES])
    return LaionClap(network, RobertaTokenizer.from_pretrained(text), identity)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, under the names that the network has for them.

    Beside them the released file holds the optimiser's state and scores as NumPy numbers: numbers are let through, any
    other object is refused.

    Raises:
        WeightsError: it holds other objects than tensors and numbers, or is no checkpoint.
    """
    import numpy as np
    import torch

    number: Any = np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"  # the name it was saved under
    try:
        with torch.serialization.safe_globals([number, np.dtype, np.dtypes.Float64DType]):
            stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
    except (UnpicklingError, RuntimeError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{path} is no checkpoint of tensors and numbers under the key 'state_dict', and nothing else of a "
            f"checkpoint is loaded here ({type(error).__name__}): download {CHECKPOINT} of {REPOSITORY} again"
        ) from error
    tensors = {key.removeprefix("module."): tensor for key, tensor in stored.items()}
    # A buffer of earlier versions of transformers; the network counts positions itself.
    tensors.pop("text_branch.embeddings.position_ids", None)
    return tensors


def build_network(text: Path) -> Any:
    """Build an untrained CLAP: an audio tower without fusion, and a text tower as configured in the folder `text`."""
    configuration = json.loads((package_folder() / "model_configs" / f"{NETWORK}.json").read_text(encoding="utf-8"))
    configuration["text_cfg"]["model_type"] = "roberta"
    module = import_network()
    module.RobertaModel = Untrained(text)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.meshgrid", UserWarning)  # it is called without `indexing`
        return module.CLAP(**configuration).eval().requires_grad_(requires_grad=False)


@dataclass(frozen=True)
class Untrained:
    """A stand-in for RobertaModel, where the network would download weights that the checkpoint brings anyway.

    Attributes:
        folder: holds the configuration of the text tower.
    """

    folder: Path

    def from_pretrained(self, _: str) -> Any:
        """Return an untrained RobertaModel of the folder's configuration, whatever name is asked for."""
        from transformers import RobertaConfig, RobertaModel

        return RobertaModel(RobertaConfig.from_pretrained(self.folder))


def import_network() -> Any:
    """Import the module `model` of laion_clap's `clap_module`, as a copy of our own.

    `import laion_clap` fetches three tokenizers for training, and torchvision, which laion-clap does not declare, for a
    class that only training uses: so neither its `__init__` nor torchvision is run.
    """
    package, unused = ModuleType("_laion_clap"), ModuleType(TRAINING_ONLY)
    package.__path__ = [str(package_folder())]
    unused.__dict__["FrozenBatchNorm2d"] = None
    sys.modules[package.__name__] = package
    present = sys.modules.setdefault(TRAINING_ONLY, unused)
    try:
        return import_module("_laion_clap.model")
    finally:
        if present is unused:
            del sys.modules[TRAINING_ONLY]


def package_folder() -> Path:
    """Return the folder in which laion_clap's `clap_module` is installed.

    Raises:
        ModuleNotFoundError: laion-clap is not installed.
    """
    spec = find_spec("laion_clap")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("laion-clap is not installed; pip install laion-clap==1.1.7, in its own environment")
    return Path(spec.origin).parent / "clap_module"


@hookimpl
def register_encoders(register: Callable[[EncoderInfo], None]) -> None:
    """Register one encoder, of the checkpoint that was trained on music."""
    register(
        EncoderInfo(
            name=NAME,
            modalities=frozenset({Modality.AUDIO, Modality.TEXT}),
            dim=DIM,
            sample_rate=SAMPLE_RATE,
            licence="CC0-1.0",
            summary="LAION-CLAP trained on music, run by its authors' package",
            factory=load_encoder,
            weights=(Weights(REPOSITORY, (CHECKPOINT,), NAME), Weights(TEXT_REPOSITORY, TEXT_FILES, NAME)),
        )
    )
