"""The attributes of a rendered clip and the grammar that puts them into words."""

from __future__ import annotations

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

TEMPO_WORDS: Mapping[str, tuple[str, ...]] = {
    "slow": ("slow", "calm", "unhurried"),
    "moderate": ("moderate", "steady", "walking-pace"),
    "fast": ("fast", "quick", "lively"),
}
DENSITY_WORDS: Mapping[str, tuple[str, ...]] = {
    "sparse": ("sparse", "with few notes"),
    "even": ("even", "flowing"),
    "busy": ("busy", "with many notes"),
}
REGISTER_WORDS: Mapping[str, tuple[str, ...]] = {
    "low": ("low", "deep"),
    "middle": ("middle",),
    "high": ("high", "bright"),
}
TEMPLATES = (
    "a {tempo} {form} played on {instrument}",
    "a {tempo} {form} in a {mode} key on {instrument}",
    "{instrument}, {tempo}, {mode}, {form}",
    "{instrument} playing a {tempo} {form} in the {register} register",
    "a {form} for {instrument}, {tempo} and {density}, {mode}",
    "{tempo} {instrument} music, a {form} in {mode}",
    "solo {instrument}, {form}, {density}, {register} register",
    "a {register} {instrument} {form}, {tempo}",
    "{form} in a {mode} key, {instrument}, {tempo}, {density}",
    "a {tempo} piece for {instrument} in a {mode} key, {density}",
    "{mode} {form} on the {instrument}",
    "a {form} on {instrument}",
)


def describe(attributes: Mapping[str, str], rng: random.Random) -> str:
    """One caption of a clip: a random phrasing, with random synonyms, of its attributes."""
    density = rng.choice(DENSITY_WORDS[attributes["density"]])
    caption = rng.choice(TEMPLATES).format(
        form=attributes["form"],
        mode=attributes["mode"],
        instrument=attributes["instrument"],
        tempo=rng.choice(TEMPO_WORDS[attributes["tempo"]]),
        density=density,
        register=rng.choice(REGISTER_WORDS[attributes["register"]]),
    )
    return caption.replace("a unhurried", "an unhurried").replace("a even", "an even")
