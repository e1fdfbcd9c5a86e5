"""A checkpoint of random weights in the form of the released one, where the encoder looks for it; no network."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

FOLDER = tempfile.TemporaryDirectory()  # removed when Python exits
HUB = Path(FOLDER.name) / "hub"
# huggingface_hub reads these when it is imported, which collecting tests may do.
os.environ |= {"HF_HUB_CACHE": str(HUB), "HF_HUB_OFFLINE": "1", "DRAGON_WEIGHTS": f"{FOLDER.name}/weights"}
os.environ["DRAGON_CACHE"] = "off"


def in_hub(repository: str) -> Path:
    """The snapshot of a repository in the hub's cache, as a download leaves it."""
    folder = HUB / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc", encoding="utf-8")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    return folder / "snapshots" / "abc"


def save_text(folder: Path) -> None:
    """A RobertaTokenizer of single letters, and a RoBERTa of one layer, as wide as laion_clap wants it."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import RobertaConfig, RobertaTokenizer

    words = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), "<mask>"]
    RobertaTokenizer(vocab={word: at for at, word in enumerate(words)}, merges=[]).save_pretrained(folder)
    RobertaConfig(
        vocab_size=len(words),
        hidden_size=768,
        num_hidden_layers=1,
        num_attention_heads=12,
        intermediate_size=64,
        max_position_embeddings=514,
        type_vocab_size=1,
    ).save_pretrained(folder)


def spread(network: Any) -> None:
    """Random weights that keep the scale of what passes through, so that embeddings differ."""
    import torch

    torch.manual_seed(0)
    for name, weight in network.named_parameters():
        if weight.ndim > 1 and "extractor" not in name:  # which are not learnt
            torch.nn.init.kaiming_normal_(weight)


def released(network: Any) -> dict[str, Any]:
    """What the released file holds: names of a data-parallel model, a buffer of old transformers, NumPy numbers."""
    import numpy as np
    import torch

    tensors = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors["module.text_branch.embeddings.position_ids"] = torch.arange(514)[None]
    optimiser = {"state": {0: {"step": 1, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    return {"epoch": 15, "name": "music", "state_dict": tensors, "optimizer": optimiser, "score": np.float64(90.14)}


def save_weights(folder: Path) -> None:
    """A checkpoint, and RoBERTa's configuration and tokenizer, in `folder`."""
    import torch
    from dragon_reward_laion_clap import CHECKPOINT, build_network

    folder.mkdir(parents=True)
    save_text(folder)
    network = build_network(folder)
    spread(network)
    torch.save(released(network), folder / CHECKPOINT)


@pytest.fixture(scope="session", autouse=True)
def weights() -> Path:
    """The folder of the encoder's weights."""
    folder = Path(os.environ["DRAGON_WEIGHTS"]) / "laion-clap"
    save_weights(folder)
    return folder
