"""The encoder `vggish`: the network of torchvggish behind a differentiable front end.

VGGish: Hershey et al., "CNN architectures for large-scale audio classification", arXiv 1609.09430. An example is a
log-mel patch of 96 windows of 25 ms, 10 ms apart. The original's postprocessing is left out: it whitens by PCA, clips
and rounds to 8 bits, and rounding has no gradient.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dragon_rewards import EncoderInfo, Modality, Weights, WeightsError, fingerprint_files, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

FILE = "vggish-10086976.pth"
URL = f"https://github.com/harritaylor/torchvggish/releases/download/v0.1/{FILE}"
SIZE = 288_000_000  # bytes, about
SAMPLE_RATE, WINDOW, HOP, N_FFT, BANDS, LOWEST, HIGHEST, FLOOR = 16_000, 400, 160, 512, 64, 125.0, 7500.0, 0.01
WINDOWS = 96  # per example, and examples do not overlap
EXAMPLE = (WINDOWS - 1) * HOP + WINDOW  # 15,600 samples, 0.975 s: the last window reaches into the next example
DIM = 128
BATCH = 64  # examples per pass, whose first activations take 1.5 MB each


class VGGish:
    """An encoder of 128 values per 0.96 s, none negative; a clip shorter than 0.975 s has no frames."""

    def __init__(self, weights: Path) -> None:
        """Read the released state dict from a file.

        Raises:
            WeightsError: the file is damaged, or holds another network.
        """
        self.identity = fingerprint_files("vggish-1", [weights])  # 1 is the front end
        self.network = load_network(weights)

    @cached_property
    def bank(self) -> Tensor:
        """The mel weights (bins, 64) in float64: triangles on the mel scale of HTK, not normalised."""
        import torch
        from transformers.audio_utils import mel_filter_bank

        bins = N_FFT // 2 + 1
        bank = mel_filter_bank(
            bins, BANDS, LOWEST, HIGHEST, SAMPLE_RATE, mel_scale="kaldi", triangularize_in_mel_space=True
        )
        return torch.from_numpy(bank)

    def examples(self, audio: Tensor) -> Tensor:
        """Return the log-mel patches (clips, examples, 96, 64) of mono audio (clips, samples) at 16 kHz."""
        import torch

        if audio.shape[1] < EXAMPLE:
            return audio.new_zeros(len(audio), 0, WINDOWS, BANDS)
        windows = audio.unfold(-1, EXAMPLE, WINDOWS * HOP).unfold(-1, WINDOW, HOP)
        magnitude = torch.fft.rfft(windows * torch.hann_window(WINDOW, dtype=torch.float64).to(audio), N_FFT).abs()
        patches: Tensor = (magnitude @ self.bank.to(audio) + FLOOR).log()
        return patches

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Return the float32 frames (clips, examples, 128) of mono audio (clips, samples) at 16 kHz."""
        import torch

        examples = self.examples(audio)
        if not examples.numel():
            return audio.new_zeros(len(audio), 0, DIM)
        batches = examples.flatten(0, 1).unsqueeze(1).split(BATCH)
        frames: Tensor = torch.cat([self.network(batch) for batch in batches]).unflatten(0, examples.shape[:2])
        return frames


def load_network(weights: Path) -> nn.Module:
    """Load the network of torchvggish with the state dict in `weights`, frozen.

    Raises:
        WeightsError: the file is damaged, or holds another network.
    """
    import torch
    from torchvggish.torchvggish import VGG, make_layers

    with torch.device("meta"):  # 72 million values that need no initialisation
        network: nn.Module = VGG(make_layers(), postprocess=False)
    try:
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True), assign=True)
    except Exception as error:  # torch raises errors of many kinds for a damaged file
        raise WeightsError(f"{weights} is not the state dict of VGGish; download {URL} again: {error}") from error
    return network.eval().requires_grad_(requires_grad=False)


def find_weights() -> Path:
    """Return the path of the released file, which the user has to put in one of two places.

    They are `$DRAGON_WEIGHTS/vggish`, and the folder where torch.hub keeps its downloads (`TORCH_HOME`). The Hugging
    Face hub has no repository of it, so that `dragon_rewards.find_weights` does not apply.

    Raises:
        WeightsError: it is in neither place; the message says where to put what.
    """
    import torch

    own = os.environ.get("DRAGON_WEIGHTS")
    folders = [Path(own) / "vggish"] if own else []
    folders.append(Path(torch.hub.get_dir()) / "checkpoints")
    for folder in folders:
        if (folder / FILE).is_file():
            return folder / FILE
    raise WeightsError(
        f"encoder 'vggish' needs {FILE}, which is not in {' or '.join(map(str, folders))}: download {URL} (288 MB) "
        "to a folder 'vggish' and set DRAGON_WEIGHTS to the folder above it"
    )


@hookimpl
def register_encoders(register: Callable[[EncoderInfo], None]) -> None:
    """Register the encoder `vggish` and the weights that it needs."""
    summary = "VGGish, trained on YouTube audio: a frame per 0.96 s; needs weights"
    audio = frozenset({Modality.AUDIO})
    weights = Weights(URL, (FILE,), "vggish", SIZE, gated=False)
    register(
        EncoderInfo(
            "vggish", audio, DIM, SAMPLE_RATE, "Apache-2.0", summary, lambda: VGGish(find_weights()), weights=(weights,)
        )
    )
