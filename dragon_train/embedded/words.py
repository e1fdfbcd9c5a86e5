"""Words for the attributes of the music that the embedded pipeline was made with, and what a prompt names in them."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

INSTRUMENT_WORDS: Mapping[str, tuple[str, ...]] = {
    "piano": ("piano",),
    "harpsichord": ("harpsichord",),
    "organ": ("organ", "church organ"),
    "accordion": ("accordion",),
    "guitar": ("guitar", "acoustic guitar"),
    "fiddle": ("fiddle", "violin"),
    "trumpet": ("trumpet",),
    "clarinet": ("clarinet",),
    "flute": ("flute",),
    "banjo": ("banjo",),
}
FORM_WORDS: Mapping[str, tuple[str, ...]] = {
    "chorale": ("chorale", "hymn"),
    "polka": ("polka",),
    "reel": ("reel",),
    "waltz": ("waltz",),
    "jig": ("jig",),
    "slip jig": ("slip jig",),
}
TEMPO_WORDS: Mapping[str, tuple[str, ...]] = {
    "slow": ("slow", "calm", "unhurried"),
    "moderate": ("moderate", "steady", "relaxed"),
    "fast": ("fast", "quick", "lively"),
}
MODE_WORDS: Mapping[str, tuple[str, ...]] = {
    "major": ("major", "cheerful", "bright"),
    "minor": ("minor", "sad", "dark"),
}
DENSITY_WORDS: Mapping[str, tuple[str, ...]] = {
    "sparse": ("sparse", "with few notes"),
    "even": ("flowing", "with regular notes"),
    "busy": ("busy", "with many notes"),
}
REGISTER_WORDS: Mapping[str, tuple[str, ...]] = {
    "low": ("low", "deep"),
    "middle": ("middle",),
    "high": ("high",),
}
COLLECTION_WORDS: Mapping[str, tuple[str, ...]] = {
    "chorales": ("baroque", "old"),
    "ryan": ("american", "traditional"),
    "oneill": ("irish", "traditional"),
    "aird": ("traditional", "old"),
}
WORDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "instrument": INSTRUMENT_WORDS,
    "form": FORM_WORDS,
    "tempo": TEMPO_WORDS,
    "mode": MODE_WORDS,
    "density": DENSITY_WORDS,
    "register": REGISTER_WORDS,
    "collection": COLLECTION_WORDS,
}
ATTRIBUTES = tuple(name for name in WORDS if name != "collection")  # whose words stand for one value each


def named(prompt: str) -> dict[str, str]:
    """Return the attributes that a prompt names, each with its value.

    An attribute of which a prompt names several values is left out, and so is the collection, whose words are shared.

    >>> named("a slow, sad slip jig on the church organ")
    {'instrument': 'organ', 'form': 'slip jig', 'tempo': 'slow', 'mode': 'minor'}
    """
    text = prompt.lower()
    said = {name: {phrases(name)[phrase] for phrase in pattern(name).findall(text)} for name in ATTRIBUTES}
    return {name: values.pop() for name, values in said.items() if len(values) == 1}


@cache
def phrases(attribute: str) -> Mapping[str, str]:
    """Return the value of an attribute that each of its words or phrases stands for."""
    return {phrase: value for value, group in WORDS[attribute].items() for phrase in group}


@cache
def pattern(attribute: str) -> re.Pattern[str]:
    """Return what finds the phrases of an attribute as whole words, of several at one place the longest."""
    longest_first = sorted(phrases(attribute), key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b")
