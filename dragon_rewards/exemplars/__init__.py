"""Exemplar sets: folders of a manifest, captions or a list of audio, and statistics in the spaces of encoders."""

from dragon_rewards.exemplars.references import reference
from dragon_rewards.exemplars.sets import (
    CAPTIONS,
    MANIFEST,
    TEXT_BATCH,
    Manifest,
    Statistics,
    captions,
    content_hash,
    encoders_of,
    items,
    load_exemplar_set,
    read_manifest,
    serves,
    space_of,
    write_exemplar_set,
)

__all__ = [
    "CAPTIONS",
    "MANIFEST",
    "TEXT_BATCH",
    "Manifest",
    "Statistics",
    "captions",
    "content_hash",
    "encoders_of",
    "items",
    "load_exemplar_set",
    "read_manifest",
    "reference",
    "serves",
    "space_of",
    "write_exemplar_set",
]
