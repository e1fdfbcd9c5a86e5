"""Two folders of clips side by side: paired by prompt and seed, by prompt, by name, or not at all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from dragon_rewards.errors import AudioError
from dragon_rewards.media.kinds import find_media
from dragon_rewards.media.prompts import prompt_sources, prompts_of

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Sequence
    from pathlib import Path

    from dragon_rewards.protocols import EncoderInfo

T = TypeVar("T")


@dataclass(frozen=True)
class Side:
    """The clips of one folder.

    Attributes:
        folder: where they are.
        files: their paths.
        prompts: the prompt of each, if all have one; else None.
        seeds: the seed that each was made from, if all have one; else None.
    """

    folder: Path
    files: tuple[Path, ...]
    prompts: tuple[str, ...] | None
    seeds: tuple[int, ...] | None

    def select(self, rows: Sequence[int]) -> Side:
        """Return a side of the clips at `rows`, in that order."""
        prompts = self.prompts and tuple(self.prompts[row] for row in rows)
        seeds = self.seeds and tuple(self.seeds[row] for row in rows)
        return replace(self, files=tuple(self.files[row] for row in rows), prompts=prompts, seeds=seeds)


@dataclass(frozen=True)
class Sides:
    """Two folders of clips and how they are paired.

    Attributes:
        a: the first folder.
        b: the second folder; where clips are paired, in the order of their partners in `a`.
        paired_by: what the pairing goes by, such as `prompt and seed`; None if clips are not paired.
        table: where prompts and seeds are from; None for what lies beside the clips.
    """

    a: Side
    b: Side
    paired_by: str | None
    table: Path | None = None

    @property
    def equal(self) -> int:
        """How many clips of each folder are compared where both must have as many: the size of the smaller folder."""
        return min(len(self.a.files), len(self.b.files))

    def without(self, files: Container[Path]) -> Sides:
        """Return both sides without these files and, where clips are paired, without their partners.

        Raises:
            AudioError: a folder has no other clips.
        """
        kept = [[row for row, file in enumerate(side.files) if file not in files] for side in (self.a, self.b)]
        if self.paired_by:
            kept = [sorted(set(kept[0]) & set(kept[1]))] * 2
        if not all(kept):
            raise AudioError(f"no clips of '{self.a.folder}' or of '{self.b.folder}' are left; give others")
        return replace(self, a=self.a.select(kept[0]), b=self.b.select(kept[1]))

    @property
    def pairing(self) -> str:
        """How clips are paired, in words for people: `by prompt`, or `unpaired`."""
        return f"by {self.paired_by}" if self.paired_by else "unpaired"


def find_sides(a: Path, b: Path, table: Path | None = None, encoders: Sequence[EncoderInfo] = ()) -> Sides:
    """Pair the files of two folders by prompt and seed, else by prompt and order, else by name, else not at all.

    They are files that the encoders take; without encoders they are audio.
    They pair if every clip of each has its partner. Prompts and seeds are taken from `table` for the files of both, or
    else from what lies beside the clips.

    Raises:
        AudioError: a folder is missing or holds no audio.
        ImageError: the encoders take images, and a folder holds none.
        TableError: a table cannot be read.
        MissingPromptsError: `table` lacks a file.
    """
    sides = _side(a, table, encoders), _side(b, table, encoders)
    for name, keys in (("prompt and seed", _by_seed), ("prompt", _by_prompt), ("name", _by_name)):
        partners = _partners(*map(keys, sides))
        if partners:
            return Sides(sides[0], sides[1].select(partners), name, table)
    return Sides(*sides, None, table)


def _side(folder: Path, table: Path | None, encoders: Sequence[EncoderInfo]) -> Side:
    files = tuple(find_media([folder], encoders))
    if table is not None:
        prompts_of(files, table)  # which it is to have, as somebody named it
    said = prompt_sources(files, table, [folder])
    found = [entry for file in files if (entry := said.of(file))]
    prompts = tuple(entry.text for entry in found if entry.text)
    seeds = tuple(entry.seed for entry in found if entry.seed is not None)
    return Side(folder, files, _of_all(prompts, files), _of_all(seeds, files))


def _of_all(values: tuple[T, ...], files: Sequence[Path]) -> tuple[T, ...] | None:
    return values if len(values) == len(files) else None


def _partners(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[int]:
    """Return for each key of A its place in B; nothing unless both have the same keys, each once."""
    places = {key: place for place, key in enumerate(b)}
    if len(a) != len(b) or len(places) < len(b) or set(a) != set(places):
        return []
    return [places[key] for key in a]


def _by_seed(side: Side) -> Sequence[Hashable]:
    return list(zip(side.prompts, side.seeds, strict=True)) if side.prompts and side.seeds else []


def _by_prompt(side: Side) -> Sequence[Hashable]:
    """Return the prompt of each clip and how often it has occurred: the first of a prompt pairs with the first."""
    seen: Counter[str] = Counter()
    keys = []
    for prompt in side.prompts or ():
        seen[prompt] += 1
        keys.append((prompt, seen[prompt]))
    return keys


def _by_name(side: Side) -> Sequence[Hashable]:
    return [file.relative_to(side.folder).with_suffix("") for file in side.files]
