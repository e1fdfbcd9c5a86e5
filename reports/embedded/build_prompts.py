"""Write the prompt lists of the embedded pipeline, with instruments, forms and tempos in equal numbers.

    python build_prompts.py WORK_DIR

A random list of 128 prompts has twice as many of one instrument as of another, and what a distribution reward
corrects in such a list is as much its mix as the model.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

COUNTS, SEED = {"train": 960, "heldout": 256}, 15
EVEN = ("instrument", "form", "tempo")  # what corpus.py draws uniformly


def captions_of(work: Path, split: str) -> dict[str, dict[str, str]]:
    """Caption -> attributes of the first clip that has it."""
    rows = [json.loads(line) for line in (work / f"{split}.jsonl").read_text().splitlines()]
    return {row["caption"]: row["attributes"] for row in reversed(rows)}


def parts(attributes: dict[str, str]) -> list[Any]:
    """What is kept even: each attribute, and instruments within each form."""
    return [*(attributes[name] for name in EVEN), (attributes["instrument"], attributes["form"])]


def balanced(captions: dict[str, dict[str, str]], count: int, rng: random.Random) -> Iterable[str]:
    """Each next caption is one whose parts are rarest so far: every prefix of the list is balanced."""
    waiting, times = sorted(captions), Counter[Any]()
    rng.shuffle(waiting)
    for _ in range(count):
        chosen = min(waiting, key=lambda caption: sum(times[part] for part in parts(captions[caption])))
        waiting.remove(chosen)
        times.update(parts(captions[chosen]))
        yield chosen


def main(work: Path) -> None:
    """Training prompts are captions of training clips; held-out prompts of held-out pieces, none of them trained on."""
    folder, rng = Path(str(files("dragon_train.embedded"))) / "prompts", random.Random(SEED)
    seen, heldout = captions_of(work, "train"), captions_of(work, "tunebook")
    unseen = {caption: attributes for caption, attributes in heldout.items() if caption not in seen}
    for split, pool in (("train", seen), ("heldout", unseen)):
        (folder / f"{split}.txt").write_text("\n".join(balanced(pool, COUNTS[split], rng)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
