"""Two folders of clips side by side: paired by prompt and seed, by prompt, by name, or not at all."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dragon_rewards.errors import AudioError, MissingPromptsError
from dragon_rewards.finding import find_audio
from dragon_rewards.prompts import SIDECAR, prompts_of

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Side:
    """The clips of one folder, with their prompts if all have one."""

    folder: Path
    files: tuple[Path, ...]
    prompts: tuple[str, ...] | None

    def select(self, rows: Sequence[int]) -> Side:
        """The clips at `rows`, in that order."""
        prompts = self.prompts and tuple(self.prompts[row] for row in rows)
        return replace(self, files=tuple(self.files[row] for row in rows), prompts=prompts)


@dataclass(frozen=True)
class Sides:
    """Two folders; clips are paired by what `paired_by` says and then in the same order, or not at all if None."""

    a: Side
    b: Side
    paired_by: str | None

    @property
    def equal(self) -> int:
        """Clips of each where both must have as many: those of the smaller."""
        return min(len(self.a.files), len(self.b.files))

    def without(self, files: Container[Path]) -> Sides:
        """Both without these files, and where clips are paired without their partners.

        Raises:
            AudioError: a folder has no other.
        """
        kept = [[row for row, file in enumerate(side.files) if file not in files] for side in (self.a, self.b)]
        if self.paired_by:
            kept = [sorted(set(kept[0]) & set(kept[1]))] * 2
        if not all(kept):
            raise AudioError(f"no clips of '{self.a.folder}' or of '{self.b.folder}' are left; give others")
        return replace(self, a=self.a.select(kept[0]), b=self.b.select(kept[1]))

    @property
    def pairing(self) -> str:
        """For people: how clips are paired."""
        return f"by {self.paired_by}" if self.paired_by else "unpaired"


def find_sides(a: Path, b: Path) -> Sides:
    """Pair the audio of two folders by prompt and seed, else by prompt and order, else by name, else not at all.

    They pair if every clip of each has its partner. Prompts and seeds are those of `prompts.csv` beside the clips.

    Raises:
        AudioError: a folder is missing or holds no audio.
        DragonError: a table cannot be read.
    """
    sides = _side(a), _side(b)
    for name, keys in (("prompt and seed", _by_seed), ("prompt", _by_prompt), ("name", _by_name)):
        partners = _partners(*map(keys, sides))
        if partners:
            return Sides(sides[0], sides[1].select(partners), name)
    return Sides(*sides, None)


def _side(folder: Path) -> Side:
    files = tuple(find_audio([folder]))
    try:
        return Side(folder, files, tuple(prompts_of(files)))
    except MissingPromptsError:
        return Side(folder, files, None)


def _partners(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[int]:
    """For each key of A its place in B; nothing unless both have the same keys, each once."""
    places = {key: place for place, key in enumerate(b)}
    if len(a) != len(b) or len(places) < len(b) or set(a) != set(places):
        return []
    return [places[key] for key in a]


def _by_seed(side: Side) -> Sequence[Hashable]:
    seeds = {path: seed for folder in {file.parent for file in side.files} for path, seed in _seeds(folder)}
    if side.prompts is None or any(file.resolve() not in seeds for file in side.files):
        return []
    return [(prompt, seeds[file.resolve()]) for prompt, file in zip(side.prompts, side.files, strict=True)]


def _by_prompt(side: Side) -> Sequence[Hashable]:
    """A prompt that occurs again is another key: the first stands against the first, the second against the second."""
    seen: Counter[str] = Counter()
    keys = []
    for prompt in side.prompts or ():
        seen[prompt] += 1
        keys.append((prompt, seen[prompt]))
    return keys


def _by_name(side: Side) -> Sequence[Hashable]:
    return [file.relative_to(side.folder).with_suffix("") for file in side.files]


def _seeds(folder: Path) -> list[tuple[Path, str]]:
    """Resolved paths and seeds of a folder's table, which `prompts_of` could read; nothing if it has no seeds."""
    table = folder / SIDECAR
    if not table.is_file():
        return []
    rows = csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines(keepends=True))
    return [((folder / row["path"]).resolve(), row["seed"]) for row in rows if row.get("seed")]
