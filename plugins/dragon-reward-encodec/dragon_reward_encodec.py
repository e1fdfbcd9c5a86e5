"""EnCodec (arXiv 2210.13438) as encoders: the 128 continuous latents of a frame, before they are quantised.

The 24 kHz model encodes a clip as a whole, 75 frames a second. The 48 kHz model hears stereo, so mono is duplicated,
and encodes chunks of 1 s that overlap by 1%, each divided by its root mean square, 150 frames a second. As in
EncodecModel.encode without a padding mask, the last chunk is as long as what is left, and the frames of all chunks
follow one another, so that overlaps have frames twice.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from dragon_rewards import EncoderInfo, Modality, Weights, WeightsError, find_weights, fingerprint_files, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

DIM = 128
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in the order in which transformers looks for them
FILES = ("config.json", "|".join(WEIGHTS))
MODELS = {
    "encodec": ("facebook/encodec_24khz", 24_000, "EnCodec of 24 kHz mono: latents before quantisation"),
    "encodec-48khz": ("facebook/encodec_48khz", 48_000, "EnCodec of 48 kHz stereo: latents before quantisation"),
}


class Encodec:
    """An encoder of audio: the frozen encoder of an EncodecModel."""

    def __init__(self, model: Any, identity: str) -> None:  # transformers' models have no usable types
        self.encoder, self.config, self.identity = model.encoder, model.config, identity

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Return the frames (clips, frames, 128), one per 320 samples of a chunk, of mono audio at the model's rate.

        The audio is (clips, samples).
        """
        import torch

        samples = audio.shape[1]
        if not samples:
            return audio.new_zeros(len(audio), 0, DIM)
        length, stride = self.config.chunk_length or samples, self.config.chunk_stride or samples
        chunks = [audio[:, start : start + length] for start in range(0, samples, stride)]
        return torch.cat([self._encode(chunk) for chunk in chunks], dim=1)

    def _encode(self, chunk: Tensor) -> Tensor:
        if self.config.normalize:
            chunk = normalise(chunk)
        latents: Tensor = self.encoder(chunk[:, None].expand(-1, self.config.audio_channels, -1))
        return latents.transpose(1, 2)


def normalise(audio: Tensor) -> Tensor:
    """Divide audio (clips, samples) by the root mean square of each clip.

    Example:
        >>> import torch
        >>> normalise(torch.tensor([[3.0, -3.0]]))
        tensor([[ 1., -1.]])
    """
    import torch

    # The norm's gradient is 0 at silence, where the gradient of a square root is not finite.
    scale = torch.linalg.vector_norm(audio, dim=-1, keepdim=True) / audio.shape[-1] ** 0.5
    normal: Tensor = audio / (scale + 1e-8)
    return normal


def load_encoder(name: str) -> Encodec:
    """Load the encoder `name` from the user's weights, in float32.

    Raises:
        WeightsError: the weights are missing, incomplete, or of the model of another sample rate.
    """
    repository, sample_rate, _ = MODELS[name]
    folder = find_weights(name, repository, FILES)
    model = _load_model(folder)
    if model.config.sampling_rate != sample_rate:
        raise WeightsError(
            f"{folder / 'config.json'}: sampling_rate is {model.config.sampling_rate}, and encoder '{name}' works at "
            f"{sample_rate} Hz; use {repository}"
        )
    weights = next(folder / file for file in WEIGHTS if (folder / file).is_file())
    return Encodec(model, fingerprint_files(name, [folder / "config.json", weights]))


def _load_model(folder: Path) -> Any:
    import torch
    from transformers import EncodecModel

    loaded: Any = EncodecModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    model, report = loaded
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise WeightsError(f"the weights in {folder} lack {missing}; download all of them again")
    return model.eval().requires_grad_(requires_grad=False)


@hookimpl
def register_encoders(register: Callable[[EncoderInfo], None]) -> None:
    """Register one encoder for each of the two models."""
    for name, (repository, sample_rate, summary) in MODELS.items():
        register(
            EncoderInfo(
                name=name,
                modalities=frozenset({Modality.AUDIO}),
                dim=DIM,
                sample_rate=sample_rate,
                licence="code MIT, weights not stated",
                summary=summary,
                factory=partial(load_encoder, name),
                weights=(Weights(repository, FILES, name),),
            )
        )
