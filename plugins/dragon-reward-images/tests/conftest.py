"""Small random checkpoints of the real classes, and a random Inception, where a user would put the released ones."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from dragon_reward_images import INCEPTION_FILE
from dragon_reward_images_inception_network import WIDTH, Inception
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model, Siglip2Tokenizer, SiglipConfig, SiglipModel

if TYPE_CHECKING:
    from collections.abc import Iterator

CLASSES = 1008  # of the released classifier, which is not used
WORDS = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *string.ascii_lowercase]
LAYERS: dict[str, Any] = {"hidden_size": 768, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


def inception_state() -> dict[str, Tensor]:
    """A random state dict with the names of the released one, whose features differ from image to image."""
    torch.manual_seed(0)
    network = Inception()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return {**network.state_dict(), "fc.weight": torch.randn(CLASSES, WIDTH), "fc.bias": torch.randn(CLASSES)}


def save_inception(folder: Path) -> Path:
    """The released file, with random values."""
    folder.mkdir(parents=True)
    torch.save(inception_state(), folder / INCEPTION_FILE)
    return folder


def save_dinov2(folder: Path, width: int = 1024) -> Path:
    """The files that are needed of the released checkpoint; its position embeddings, too, are of larger images."""
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=width, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=1, image_size=448, patch_size=56
    )
    Dinov2Model(config).save_pretrained(folder)
    return folder


def save_siglip2(folder: Path, pixels: int = 224) -> Path:
    """The files that are needed of the released checkpoint, whose tokenizer names another class."""
    torch.manual_seed(0)
    marks = {"bos_token_id": WORDS.index("<bos>"), "eos_token_id": WORDS.index("<eos>"), "pad_token_id": 0}
    vision, text = {"image_size": pixels, "patch_size": 56}, {"vocab_size": len(WORDS), **marks}
    SiglipModel(SiglipConfig(text_config=LAYERS | text, vision_config=LAYERS | vision)).save_pretrained(folder)
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    Siglip2Tokenizer(vocab=vocabulary, merges=[], add_bos_token=False, add_eos_token=True).save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"tokenizer_class": "GemmaTokenizer"}))
    return folder


@pytest.fixture(scope="session", autouse=True)
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that DRAGON_WEIGHTS names, with all three."""
    folder = tmp_path_factory.mktemp("weights")
    save_inception(folder / "inception")
    save_dinov2(folder / "dinov2")
    save_siglip2(folder / "siglip2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRAGON_WEIGHTS", str(folder))
        yield folder
