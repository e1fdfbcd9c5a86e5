"""LAION-CLAP (arXiv 2211.06687) as encoders: windows of audio, and text, as unit vectors in one space.

Audio is cut as fadtk does it: a window of 10 s starts every second while there is audio left, and what a window lacks
at the end is zero. A clip shorter than one window is repeated as often as it fits, then zero-padded ("repeatpad" of
ClapFeatureExtractor). Samples are not quantised to 16 bits, which the feature extractor does not do either.
"""

from __future__ import annotations

import math
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from dragon_rewards import (
    ConfigError,
    EncoderInfo,
    Modality,
    Weights,
    WeightsError,
    find_weights,
    fingerprint_files,
    hookimpl,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor
    from transformers import ClapFeatureExtractor

DIM, SAMPLE_RATE = 512, 48_000
BATCH = 32  # windows per pass: bounds the memory of long clips
HOP = "DRAGON_CLAP_HOP"
CONFIGURATION = ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in the order in which transformers looks for them
FILES = (*CONFIGURATION, "|".join(WEIGHTS))
REPOSITORIES = {
    "clap-music": ("laion/larger_clap_music", "LAION-CLAP trained on music"),
    "clap-htsat": ("laion/clap-htsat-unfused", "LAION-CLAP trained on sounds of all kinds"),
}


class LogMel:
    """The features of ClapFeatureExtractor without fusion, in torch: equal to 2e-5 dB, and differentiable.

    They are computed in float64, as there: float32 loses what lies 100 dB below a loud tone. Where the windows' device
    has no float64, the CPU computes them.
    """

    def __init__(self, extractor: ClapFeatureExtractor) -> None:
        import torch

        self.n_fft, self.hop = extractor.fft_window_size, extractor.hop_length
        self.bank = torch.from_numpy(extractor.mel_filters_slaney)
        self.window = torch.hann_window(self.n_fft, dtype=torch.float64)

    def __call__(self, windows: Tensor) -> Tensor:
        """Return the features (windows, 1, frames, mel bands) of audio (windows, samples), in decibels from -100 up."""
        import torch

        from dragon_rewards import statistics_device  # imports torch

        waves = windows.to(statistics_device(windows.device)).double()
        spectrum = torch.stft(waves, self.n_fft, self.hop, window=self.window, return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
        decibels: Tensor = 10 * (power @ self.bank).clamp_min(1e-10).log10()
        return decibels.float()[:, None].to(windows.device)


class Clap:
    """An encoder of audio and text: a frozen ClapModel, its features and its tokenizer."""

    # transformers' models and tokenizers have no usable types.
    def __init__(self, model: Any, extractor: ClapFeatureExtractor, tokenizer: Any, hop: int, identity: str) -> None:
        """Take a ClapModel, a RobertaTokenizer, and the samples between the starts of two windows."""
        self.model, self.tokenizer, self.hop, self.identity = model, tokenizer, hop, identity
        self.log_mel, self.length = LogMel(extractor), extractor.nb_max_samples

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Return the unit frames (clips, windows, 512) of mono audio (clips, samples) at 48 kHz.

        There is one a hop, which is 1 s by default; none where there are no samples.
        """
        import torch

        if not audio.shape[1]:
            return audio.new_zeros(len(audio), 0, DIM)
        windows = self.windows(audio)
        clips, count, _ = windows.shape
        parts = torch.arange(clips * count).split(BATCH)
        embedded = [self._embed(windows[part // count, part % count]) for part in parts]
        return torch.cat(embedded).reshape(clips, count, DIM)

    def windows(self, audio: Tensor) -> Tensor:
        """Cut audio (clips, samples) into windows (clips, windows, samples of a window)."""
        from torch.nn.functional import pad

        samples = audio.shape[1]
        if samples < self.length:
            repeated = audio.repeat(1, self.length // samples)
            return pad(repeated, (0, self.length - repeated.shape[1]))[:, None]
        last = math.ceil(samples / self.hop) - 1
        return pad(audio, (0, last * self.hop + self.length - samples)).unfold(1, self.length, self.hop)

    @property
    def token_limit(self) -> int:
        """The number of tokens of a text that are read: RoBERTa's first position follows the one of the padding."""
        positions: int = self.model.config.text_config.max_position_embeddings - self.tokenizer.pad_token_id - 1
        return positions

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each whole text, with the marks of beginning and end."""
        return [len(row) for row in self.tokenizer(list(texts), verbose=False)["input_ids"]]

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Return the unit embeddings (texts, 512) of texts; a text is cut where the text tower's positions end."""
        longest = self.token_limit
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        tokens = tokens.to(self.model.device)
        embedded: Tensor = self.model.get_text_features(tokens.input_ids, tokens.attention_mask).pooler_output
        return embedded

    def _embed(self, windows: Tensor) -> Tensor:
        embedded: Tensor = self.model.get_audio_features(self.log_mel(windows)).pooler_output
        return embedded


def load_encoder(name: str) -> Clap:
    """Load the encoder `name` from the user's weights, in float32.

    Raises:
        ConfigError: `$DRAGON_CLAP_HOP` is no hop.
        WeightsError: the weights are missing, incomplete, or of a model that fuses windows.
    """
    from transformers import ClapFeatureExtractor, RobertaTokenizer

    hop = hop_samples()
    folder = find_weights(name, REPOSITORIES[name][0], FILES)
    extractor = ClapFeatureExtractor.from_pretrained(folder)
    _check_extractor(extractor, folder)
    tokenizer = RobertaTokenizer.from_pretrained(folder)
    weights = next(folder / file for file in WEIGHTS if (folder / file).is_file())
    identity = fingerprint_files(f"{name}-hop{hop}", [weights, *(folder / file for file in CONFIGURATION)])
    return Clap(_load_model(folder), extractor, tokenizer, hop, identity)


def hop_samples() -> int:
    """Return the samples between the starts of two windows: `$DRAGON_CLAP_HOP` seconds, 1 by default.

    Raises:
        ConfigError: it is no number above 0 and up to 10, the length of a window.
    """
    text = os.environ.get(HOP, "1")
    try:
        samples = round(float(text) * SAMPLE_RATE)
    except (ValueError, OverflowError):
        samples = 0
    if not 1 <= samples <= 10 * SAMPLE_RATE:
        raise ConfigError(f"{HOP} is the hop between windows in seconds, above 0 and up to 10, not '{text}'")
    return samples


def _check_extractor(extractor: ClapFeatureExtractor, folder: Path) -> None:
    wanted = {"truncation": "rand_trunc", "padding": "repeatpad", "sampling_rate": SAMPLE_RATE, "max_length_s": 10}
    for key, value in wanted.items():
        if getattr(extractor, key) != value:
            raise WeightsError(
                f"{folder / 'preprocessor_config.json'}: {key} is {getattr(extractor, key)!r}, and this encoder does "
                f"only {value!r}; use a checkpoint without fusion, such as laion/larger_clap_music"
            )


def _load_model(folder: Path) -> Any:
    import torch
    from transformers import ClapModel

    loaded: Any = ClapModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    model, report = loaded
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise WeightsError(f"the weights in {folder} lack {missing}; download all of them again")
    return model.eval().requires_grad_(requires_grad=False)


@hookimpl
def register_encoders(register: Callable[[EncoderInfo], None]) -> None:
    """Register one encoder for each checkpoint of LAION-CLAP."""
    for name, (repository, summary) in REPOSITORIES.items():
        register(
            EncoderInfo(
                name=name,
                modalities=frozenset({Modality.AUDIO, Modality.TEXT}),
                dim=DIM,
                sample_rate=SAMPLE_RATE,
                licence="Apache-2.0",
                summary=summary,
                factory=partial(load_encoder, name),
                weights=(Weights(repository, FILES, name),),
            )
        )
