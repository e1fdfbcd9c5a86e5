"""Write the prompts of the embedded pipeline in three roles, and render the real music that the exam's describe.

    python build_prompts.py WORK_DIR SOUNDFONT.sf2

Each role has its own pieces and its own phrasings: `train` for tuning, `watch` for choosing settings, `exam` for
claims. No prompt is a caption of an exemplar set. In every prefix of a list the counts of the values of an attribute,
where prompts name it, differ by at most one: a random list of 128 prompts has twice as many of one instrument as of
another, and what a reward of sets corrects in such a list is as much its mix as the model.

`real-tunebook` in WORK_DIR gets a clip of each exam prompt's own piece, and `real-airs` one of a piece of Aird's
collection that has what the prompt names and is not in the exemplar set `airs`.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from captions import INSTRUMENTS, PHRASINGS, describe, named
from corpus import FEWEST, clip_plan, parse_all, render_many, sources
from training import load_rows

from dragon_rewards import load_registry
from dragon_rewards.exemplars import captions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    Plan = dict[str, Any]

COUNTS, SEED, DRAWN = {"train": 960, "watch": 256, "exam": 256}, 15, 12_000
SETS = ("tunebook", "airs", "tunebook-captions", "airs-captions", "descriptions")


def drawn(pieces: Sequence[Plan], rng: random.Random, count: int = DRAWN) -> list[Plan]:
    """Random clips, with every form equally often; the instrument is chosen later."""
    forms: dict[str, list[Plan]] = {}
    for piece in pieces:
        forms.setdefault(piece["form"], []).append(piece)
    known = sorted(form for form in forms if len(forms[form]) >= FEWEST)
    return [clip_plan(rng.choice(forms[rng.choice(known)]), rng) for _ in range(count)]


def named_of(plan: Plan) -> dict[str, str]:
    """What the prompt of a clip names, by attribute."""
    return {name: plan["attributes"][name] for name in named(plan["phrasing"])}


class Evenly:
    """Clips for prompts, chosen one after the other so that the counts of what prompts name stay even.

    Where no clip fits, the last ones are given back and chosen anew.
    """

    def __init__(
        self, plans: Sequence[Plan], phrasings: Sequence[str], taken: AbstractSet[str], rng: random.Random
    ) -> None:
        self.waiting, self.phrasings, self.taken, self.rng = list(plans), phrasings, taken, rng
        self.chosen: list[Plan] = []
        found = {name: {plan["attributes"][name] for plan in plans} for name in plans[0]["attributes"]}
        self.values = {**found, "instrument": set(INSTRUMENTS)}

    def rarest(self) -> dict[str, set[str]]:
        """The values of each attribute that were named least often."""
        times = {name: Counter(dict.fromkeys(sorted(values), 0)) for name, values in self.values.items()}
        for plan in self.chosen:
            for name, value in named_of(plan).items():
                times[name][value] += 1
        return {name: {v for v, n in counts.items() if n == min(counts.values())} for name, counts in times.items()}

    def step(self) -> None:
        """Choose one more, or give the last ones back."""
        rarest, turn = self.rarest(), len(self.chosen) % len(self.phrasings)
        used = {plan["phrasing"] for plan in self.chosen[len(self.chosen) - turn :]}
        fresh = [phrasing for phrasing in self.phrasings if phrasing not in used]
        for phrasing in self.rng.sample(fresh, len(fresh)):
            for place, plan in enumerate(self.waiting):
                prompt = self.prompt(plan, phrasing, rarest)
                if prompt is not None:
                    del self.waiting[place]
                    self.chosen.append(prompt)
                    return
        back = self.rng.randint(1, len(self.phrasings))
        self.waiting += self.chosen[-back:]
        del self.chosen[-back:]

    def prompt(self, plan: Plan, phrasing: str, rarest: dict[str, set[str]]) -> Plan | None:
        """A clip with a caption of this phrasing that keeps counts even and that nobody has; None if it has none."""
        if any(plan["attributes"][name] not in rarest[name] for name in named(phrasing) - {"instrument"}):
            return None
        attributes = {**plan["attributes"], "instrument": self.rng.choice(sorted(rarest["instrument"]))}
        texts = {describe(attributes, self.rng, [phrasing]) for _ in range(20)}
        fresh = texts - self.taken - {plan["caption"] for plan in self.chosen}
        return (
            {**plan, "attributes": attributes, "phrasing": phrasing, "caption": self.rng.choice(sorted(fresh))}
            if fresh
            else None
        )


def prompts_of(plans: list[Plan], role: str, count: int, rng: random.Random, taken: set[str]) -> list[Plan]:
    """Clips with captions of the role's phrasings, each phrasing equally often, none of which is taken."""
    evenly = Evenly(plans, PHRASINGS[role], taken, rng)
    while len(evenly.chosen) < count:
        evenly.step()
    return evenly.chosen


def likened(prompts: Sequence[Plan], plans: list[Plan]) -> Iterator[Plan]:
    """For each prompt a clip of other music that has as much of what the prompt names as can be had."""
    waiting = list(plans)
    for prompt in prompts:
        wanted = named_of(prompt)
        alike = [sum(plan["attributes"][name] == value for name, value in wanted.items()) for plan in waiting]
        chosen = waiting.pop(alike.index(max(alike)))
        attributes = {**chosen["attributes"], "instrument": wanted["instrument"]}
        yield {**chosen, "attributes": attributes, "caption": prompt["caption"]}


def write_clips(work: Path, name: str, plans: Sequence[Plan], soundfont: str) -> None:
    """Render clips, as corpus.py does."""
    np.save(work / f"{name}.npy", render_many(list(plans), soundfont))
    rows = [{key: plan[key] for key in ("piece", "attributes", "caption")} for plan in plans]
    (work / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def main(work: Path, soundfont: str) -> None:
    """Write the three lists and the two sets of real clips."""
    folder, rng = Path(str(files("dragon_train.embedded"))) / "prompts", random.Random(SEED)
    pieces, registry = sources(parse_all(work)), load_registry()
    taken = {caption for name in SETS for caption in captions(registry.exemplar_set(name))}
    made = {role: prompts_of(drawn(pieces[role], rng), role, count, rng, taken) for role, count in COUNTS.items()}
    for role, prompts in made.items():
        (folder / f"{role}.txt").write_text("\n".join(plan["caption"] for plan in prompts) + "\n", encoding="utf-8")
    write_clips(work, "real-tunebook", made["exam"], soundfont)
    known = {row["piece"] for row in load_rows(work, "airs")}
    others = [piece for piece in pieces["airs"] if piece["id"] not in known]
    write_clips(work, "real-airs", list(likened(made["exam"], drawn(others, rng))), soundfont)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
