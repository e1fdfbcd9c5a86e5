"""The embedded two-tower encoder: audio frames and text in one 128-dimensional space (CLAP, arXiv 2211.06687)."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank

from dragon_rewards.embedded.autoencoder import ConvNeXtBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

DIM, SAMPLE_RATE, N_FFT, HOP, MELS = 128, 16_000, 1024, 320, 64
SHORTEST = 8 * HOP  # samples: two strided convolutions make one embedding of eight frames


class AudioTower(nn.Module):
    """The network that maps log-mel frames at 50 Hz to unit embeddings at 6.25 Hz."""

    mel: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        mel = mel_filter_bank(N_FFT // 2 + 1, MELS, 30.0, 8000.0, SAMPLE_RATE, norm="slaney", mel_scale="slaney")
        self.register_buffer("mel", torch.from_numpy(mel).float(), persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        self.layers = nn.Sequential(
            nn.Conv1d(MELS, 192, 8, stride=4, padding=2),
            ConvNeXtBlock(192),
            ConvNeXtBlock(192),
            nn.Conv1d(192, 256, 4, stride=2, padding=1),
            ConvNeXtBlock(256),
            ConvNeXtBlock(256),
            nn.Conv1d(256, DIM, 1),
        )

    def log_mel(self, audio: Tensor) -> Tensor:
        """Return the log-mel frames (clips, 64, samples / 320) of audio (clips, samples), roughly between -2 and 2."""
        padded = nn.functional.pad(audio, ((N_FFT - HOP) // 2, (N_FFT - HOP) // 2))
        spectrum = torch.stft(padded, N_FFT, HOP, window=self.window, center=False, return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(-1)
        return ((self.mel.T @ power) + 1e-6).log10() / 2 + 1

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the unit embeddings (clips, frames / 8, 128) of log-mel frames (clips, 64, frames)."""
        embedded: Tensor = self.layers(log_mel)
        return nn.functional.normalize(embedded.transpose(1, 2), dim=-1)


class TextTower(nn.Module):
    """The network that maps word identifiers to unit embeddings: two transformer layers and a mean over the words."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, DIM, padding_idx=0)
        self.places = nn.Parameter(0.02 * torch.randn(32, DIM))
        layer = nn.TransformerEncoderLayer(DIM, 4, 2 * DIM, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.project = nn.Linear(DIM, DIM)

    def forward(self, words: Tensor) -> Tensor:
        """Return the unit embeddings (texts, 128) of word identifiers (texts, words), which are padded with 0."""
        padding = words == 0
        hidden = self.layers(self.words(words) + self.places[: words.shape[1]], src_key_padding_mask=padding)
        kept = (~padding).unsqueeze(-1)
        return nn.functional.normalize(self.project((hidden * kept).sum(1) / kept.sum(1)), dim=-1)


class EmbeddedClap(nn.Module):
    """The encoder of audio and text, made of both towers; `load_encoder` sets its `identity`."""

    identity = "untrained"
    token_limit = 32

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.audio = AudioTower()
        self.text = TextTower(tokenizer.get_vocab_size())
        self.log_temperature = nn.Parameter(torch.tensor(2.6))

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Return the unit frames (clips, frames, 128), 6.25 a second, of mono audio (clips, samples) at 16 kHz."""
        if audio.shape[1] < SHORTEST:
            return audio.new_zeros(len(audio), 0, DIM)
        frames: Tensor = self.audio(self.audio.log_mel(audio))
        return frames

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Return the word identifiers (texts, words) of texts, at most 32 words of each, padded with 0."""
        rows = [encoding.ids[: self.token_limit] or [1] for encoding in self.tokenizer.encode_batch(list(texts))]
        longest = max(map(len, rows))
        return torch.tensor([row + [0] * (longest - len(row)) for row in rows])

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of words of each text, before it is cut."""
        return [len(encoding.ids) for encoding in self.tokenizer.encode_batch(list(texts))]

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Return the unit embeddings (texts, 128) of texts; words outside the vocabulary count as one unknown word."""
        embedded: Tensor = self.text(self.tokens(texts).to(self.log_temperature.device))
        return embedded


WEIGHTS = Path(str(files("dragon_rewards.embedded"))) / "weights" / "clap"


def load_encoder(weights: Path = WEIGHTS) -> EmbeddedClap:
    """Load the encoder `clap` in float32, frozen; the weights are stored as float16."""
    stored = (weights / "model.safetensors").read_bytes()
    words = (weights / "tokenizer.json").read_bytes()
    model = EmbeddedClap(Tokenizer.from_str(words.decode()))
    model.load_state_dict(load(stored))
    model.identity = "clap-" + sha256(stored + words).hexdigest()[:12]
    return model.eval().requires_grad_(False)
