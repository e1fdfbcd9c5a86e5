"""The attributes of a rendered clip and the grammar that puts them into words (`dragon_train.embedded.words`)."""

from __future__ import annotations

import re
from string import Formatter
from typing import TYPE_CHECKING

from dragon_train.embedded.words import WORDS

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

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
# Three families of phrasings, disjoint: prompts to train on, to watch and for the exam are of one each. A caption names
# the instrument and three of the six other attributes; in the ten phrasings of a family each of the six is named five
# times, and each two of them together twice (a 2-(6, 3, 2) design).
PHRASINGS: Mapping[str, tuple[str, ...]] = {
    "train": (
        "a {tempo}, {mode} {form} on the {instrument}",
        "a {tempo} {form} for {instrument}, {density}",
        "{tempo}, {mode} music for {instrument} in the {register} register",
        "a {tempo} {collection} tune on {instrument}, {density}",
        "a {collection} tune for {instrument}, {tempo}, {register} register",
        "a {mode} {collection} {form} on the {instrument}",
        "solo {instrument}, {form}, {density}, {register} register",
        "a {collection} {form} played on {instrument} in the {register} register",
        "{instrument} music, {mode}, {density}, in the {register} register",
        "a {mode} {collection} tune for {instrument}, {density}",
    ),
    "watch": (
        "{instrument}, {tempo}, {mode}, {form}",
        "{instrument} playing a {tempo} {form}, {density}",
        "a {tempo} tune on {instrument}, {mode}, {register} register",
        "{collection} {instrument} music, {tempo} and {density}",
        "{instrument} in the {register} register, a {tempo} {collection} tune",
        "{collection} {form}, {mode}, played on {instrument}",
        "a {form} in the {register} register, {instrument}, {density}",
        "{instrument}, a {collection} {form}, {register}",
        "a {mode} tune in the {register} register, {density}, solo {instrument}",
        "{mode} {instrument} music, {collection} and {density}",
    ),
    "exam": (
        "{mode} {form} played on the {instrument}, {tempo}",
        "a {form} on solo {instrument}, {tempo}, {density}",
        "{register} {instrument}, {tempo} and {mode}",
        "{instrument}, {tempo}, {density}, {collection}",
        "the {instrument} playing {tempo} {collection} music in the {register} register",
        "{instrument} playing a {mode} {form}, {collection}",
        "{register} {form} for {instrument}, {density}",
        "in the {register} register, a {collection} {form} for {instrument}",
        "{instrument}, {mode}, {register}, {density}",
        "a {collection} tune, {mode}, {density}, for {instrument}",
    ),
}
TEMPLATES = tuple(template for family in PHRASINGS.values() for template in family)


def named(template: str) -> set[str]:
    """The attributes that a phrasing names."""
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def describe(attributes: Mapping[str, str], rng: random.Random, templates: Sequence[str] = TEMPLATES) -> str:
    """One caption of a clip: a random phrasing, with random synonyms, of its attributes."""
    words = {name: rng.choice(table[attributes[name]]) for name, table in WORDS.items()}
    caption = rng.choice(templates).format(**words)
    return re.sub(r"\ba (?=[aeiou])", "an ", caption)
