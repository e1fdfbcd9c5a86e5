"""TRL's own GRPOTrainer trains a tiny language model on exported rewards; run where TRL is installed."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer

from dragon_rewards.export import TrlReward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

WORDS = ["<pad>", "<eos>", *(f"word{index}" for index in range(30))]
RATE = 16_000


def decode(completion_ids: Sequence[Sequence[int]]) -> list[Tensor]:
    """A second of noise whose level is the mean token: a codec of one number."""
    levels = [0.01 + sum(ids) / max(len(ids), 1) / 100 for ids in completion_ids]
    return [level * torch.randn(RATE, generator=torch.Generator().manual_seed(0)) for level in levels]


def language_model() -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast]:
    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<pad>"))  # noqa: S106
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")  # noqa: S106
    size: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2}
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=len(WORDS), **size, **heads)), tokenizer


def train(rewards: list[TrlReward], out: Path) -> list[dict[str, float]]:
    model, tokenizer = language_model()
    settings = GRPOConfig(
        output_dir=str(out),
        max_steps=2,
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=6,
        logging_steps=1,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    prompts = Dataset.from_dict({"prompt": ["word1 word2", "word3"], "level": [1, 2]})
    trainer = GRPOTrainer(model, rewards, settings, prompts, processing_class=tokenizer)
    trainer.train()
    return list(trainer.state.log_history)


def exported(file: Path) -> TrlReward:
    """The reward of a written module, with the codec that its user is to fill in."""
    sys.path.insert(0, str(file.parent))
    (reward,) = (value for value in vars(import_module(file.stem)).values() if isinstance(value, TrlReward))
    reward.decode, reward.sample_rate = decode, RATE
    return reward


if __name__ == "__main__":
    out, *files = map(Path, sys.argv[1:])
    print(json.dumps(train([exported(file) for file in files], out)))  # noqa: T201
