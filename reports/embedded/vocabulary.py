"""The word-level tokenizer that the text tower and the pipeline's text encoder share."""

from __future__ import annotations

import re

from captions import TEMPLATES
from descriptions import descriptions
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from dragon_train.embedded.words import WORDS


def words() -> list[str]:
    """Every word of the caption grammar and of the ungrounded descriptions, and punctuation, sorted."""
    phrases = [phrase for table in WORDS.values() for group in table.values() for phrase in group]
    phrases += [re.sub(r"\{\w+\}", "", template) for template in TEMPLATES]
    phrases += ["an", *descriptions()]
    return sorted(set(re.findall(r"[a-z]+|[^\sa-z]", " ".join(phrases).lower())))


def tokenizer() -> Tokenizer:
    """Lower-case words; 0 pads, 1 stands for any unknown word."""
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<unk>", *words()])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106  # a word, not a password
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made
