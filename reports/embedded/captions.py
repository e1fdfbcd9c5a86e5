"""The attributes of a rendered clip and the grammar that puts them into words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

INSTRUMENTS: Mapping[str, int] = {  # General MIDI programs, counted from 0
    "piano": 0,
    "harpsichord": 6,
    "organ": 19,
    "accordion": 21,
    "guitar": 24,
    "fiddle": 40,
    "trumpet": 56,
    "clarinet": 71,
    "flute": 73,
    "banjo": 105,
}
TEMPOS: Mapping[str, tuple[int, int]] = {  # quarter notes per minute, inclusive
    "slow": (60, 80),
    "moderate": (96, 116),
    "fast": (138, 168),
}
FORMS: Mapping[str, str] = {  # the dance that each metre names in these collections
    "2/4": "polka",
    "2/2": "reel",
    "4/4": "reel",
    "3/4": "waltz",
    "6/8": "jig",
    "9/8": "slip jig",
}

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
TEMPLATES = (
    "a {tempo} {form} played on {instrument}",
    "a {tempo}, {mode} {form} on the {instrument}",
    "{instrument}, {tempo}, {mode}, {form}",
    "{instrument} playing a {tempo} {form} in the {register} register",
    "a {form} for {instrument}, {tempo} and {density}, {mode}",
    "{tempo} {instrument} music, a {collection} {form}, {mode}",
    "solo {instrument}, {form}, {density}, {register} register",
    "a {collection} {form}, {instrument}, {register} register, {tempo}",
    "{mode} {form}, {instrument}, {tempo}, {density}",
    "a {tempo} {collection} tune for {instrument}, {mode}, {density}",
    "{mode} {collection} {form} on the {instrument}",
    "a {form} on {instrument}",
)


def describe(attributes: Mapping[str, str], rng: random.Random) -> str:
    """One caption of a clip: a random phrasing, with random synonyms, of its attributes."""
    tables = (
        ("instrument", INSTRUMENT_WORDS),
        ("form", FORM_WORDS),
        ("tempo", TEMPO_WORDS),
        ("mode", MODE_WORDS),
        ("density", DENSITY_WORDS),
        ("register", REGISTER_WORDS),
        ("collection", COLLECTION_WORDS),
    )
    words = {name: rng.choice(table[attributes[name]]) for name, table in tables}
    caption = rng.choice(TEMPLATES).format(**words)
    return re.sub(r"\ba (?=[aeiou])", "an ", caption)
