"""Make the exemplar sets of `dragon ablate exemplars`: 10 to 1,000 of the captions of `airs-captions`.

    python reports/ablations/make_exemplar_sets.py

The captions are drawn without replacement and with a fixed seed; each set holds the smaller ones. They go where the
sets of a user go (`dragon list exemplar-sets` shows them); those that are there stay.
"""

from __future__ import annotations

import random

from dragon_rewards import load_registry
from dragon_rewards.exemplars import Manifest, captions
from dragon_rewards.exemplars.item import text_item
from dragon_rewards.exemplars.store import find_set, save_set
from dragon_rewards.protocols import Modality

SCRIPT = "reports/ablations/make_exemplar_sets.py"
SOURCE, COUNTS, SEED = "airs-captions", (10, 30, 100, 300, 1000), 20


def main() -> None:
    """Make those that are missing."""
    texts = list(captions(load_registry().exemplar_set(SOURCE)))
    drawn = random.Random(SEED).sample(texts, len(texts))
    for count in COUNTS:
        name = f"{SOURCE}-{count}"
        if find_set(name) is None:
            summary = f"{count} of the captions of '{SOURCE}'"
            manifest = Manifest(name, Modality.TEXT, 0, "CC0-1.0", summary, SCRIPT, "")
            save_set(manifest, [text_item(caption) for caption in drawn[:count]], None)
        print(name)


if __name__ == "__main__":
    main()
