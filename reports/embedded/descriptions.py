"""Ungrounded descriptions: a taste put into words, with no audio behind it.

They ask for quiet, slow, dark church and evening music, which is rare among the training clips (16% chorales, a
third slow, a quarter minor), so a reward against them pulls the model somewhere it does not go by itself.
"""

from __future__ import annotations

from itertools import product

OPENINGS = ("a slow, sad", "a calm, dark", "an unhurried, minor", "a slow, dark", "a calm, sad")
FORMS = ("hymn", "chorale", "waltz", "old tune")
SOUNDS = (
    "played on church organ",
    "on the organ, with few notes",
    "for accordion in the low register",
    "on the clarinet, deep and sparse",
    "played on harpsichord, sparse",
    "for violin in the middle register",
    "on acoustic guitar, with few notes",
)


def descriptions() -> list[str]:
    """All 140 descriptions, in a fixed order."""
    return [" ".join(parts) for parts in product(OPENINGS, FORMS, SOUNDS)]
