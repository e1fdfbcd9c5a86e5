"""Small random checkpoints of the real classes, where a user would put the released ones."""

from __future__ import annotations

import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator

TOWERS: dict[str, Any] = {
    "text_config": {
        "vocab_size": 64,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 82,
    },
    "audio_config": {
        "depths": [1, 1],
        "num_attention_heads": [1, 2],
        "patch_embeds_hidden_size": 16,
        "hidden_size": 32,  # patch_embeds_hidden_size * 2 ** (stages - 1)
        "num_hidden_layers": 2,
    },
}


def tokenizer() -> RobertaTokenizer:
    """A tokenizer of single characters."""
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", *string.ascii_lowercase]
    return RobertaTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[])


def save_checkpoint(folder: Path, seed: int) -> Path:
    """The files that the released checkpoints have, with their front end; returns `folder`."""
    torch.manual_seed(seed)
    ClapModel(ClapConfig(**TOWERS, projection_dim=512)).save_pretrained(folder)
    ClapFeatureExtractor(truncation="rand_trunc", frequency_min=50).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that DRAGON_WEIGHTS names, with both checkpoints."""
    folder = tmp_path_factory.mktemp("weights")
    save_checkpoint(folder / "clap-music", 0)
    save_checkpoint(folder / "clap-htsat", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRAGON_WEIGHTS", str(folder))
        patch.delenv("DRAGON_CLAP_HOP", raising=False)
        yield folder
