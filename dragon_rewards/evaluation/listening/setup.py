"""From two folders and a file of votes, make a listening test that can be taken, or goes on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from dragon_rewards.errors import ConfigError
from dragon_rewards.evaluation.listening.plan import Clip, Pair, Plan, Side
from dragon_rewards.evaluation.listening.sound import encode, measure, read_pair
from dragon_rewards.evaluation.listening.votes import VoteFile
from dragon_rewards.media.folder_pairs import find_sides
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dragon_rewards.media.folder_pairs import Sides


@dataclass(frozen=True)
class ListeningTest:
    """A listening test that can be taken.

    Attributes:
        plan: what it plays to whom.
        votes: the file that keeps its votes.
        files: the files of A and B of each pair.
    """

    plan: Plan
    votes: VoteFile
    files: tuple[tuple[Path, Path], ...]

    def sound(self, pair: int, side: Side) -> bytes:
        """Return a clip of a pair as raters hear it: a FLAC file, matched in loudness."""
        a, b, rate = read_pair(*self.files[pair])
        return encode(a if side is Side.A else b, rate, self.plan.pairs[pair].clip(side).gain)


def open_test(
    a: Path,
    b: Path,
    db: Path,
    seed: int,
    repeats: int,
    identical: int,
    on_progress: Callable[[int, int], None],
    table: Path | None = None,
) -> ListeningTest:
    """Open the test of two folders, whose clips are paired as `folder_pairs.find_sides` pairs them.

    A new file of votes gets its plan, for which every clip is measured. A file that has a plan goes on with it.

    Args:
        a: the first folder.
        b: the second folder.
        db: the file of votes.
        seed: the seed of the order and the sides.
        repeats: how many pairs each rater hears again.
        identical: how many identical pairs each rater hears.
        on_progress: is told how many further pairs of how many are measured.
        table: prompts of the clips; None for what lies beside them.

    Raises:
        ConfigError: the clips do not pair, the file has the plan of another test, or the counts exceed the pairs.
        DragonError: a clip cannot be read or measured, or the file cannot be used.
    """
    sides = _paired(a, b, table)
    files = tuple(zip(sides.a.files, sides.b.files, strict=True))
    wanted = Plan(seed, repeats, identical, _pairs(sides), _folders(sides))
    votes = VoteFile(db)
    kept = votes.plan()
    if kept:
        _check_same(kept, wanted, db)
        return ListeningTest(kept, votes, files)
    measured = []
    for pair, paths in zip(wanted.pairs, files, strict=True):
        measured.append(_matched(pair, *paths))
        on_progress(1, len(files))
    votes.begin(replace(wanted, pairs=tuple(measured)))
    plan = votes.plan() or wanted
    _check_same(plan, wanted, db)
    return ListeningTest(plan, votes, files)


def check_test(db: Path, seed: int, repeats: int, identical: int, count: int) -> None:
    """Refuse what `open_test` would refuse of a test of `count` pairs, before there are clips.

    Raises:
        ConfigError: the file has the plan of a test with other settings, or the counts exceed the pairs.
        DragonError: the file cannot be used.
    """
    clip = Clip("", "", 1.0)
    wanted = Plan(seed, repeats, identical, (Pair(None, clip, clip),) * count)
    kept = VoteFile(db).plan() if db.exists() else None  # which makes none where there is none
    if kept:
        _check_settings(kept, wanted, db)
        if len(kept.pairs) != count:
            raise ConfigError(
                f"'{db}' is a test of {counted(len(kept.pairs), 'pair')}, not {count}: --pairs, or another --db"
            )


def _paired(a: Path, b: Path, table: Path | None) -> Sides:
    sides = find_sides(a, b, table)
    if sides.paired_by is None:
        raise ConfigError(
            f"the clips of '{a}' ({len(sides.a.files)}) and '{b}' ({len(sides.b.files)}) do not pair: "
            "give each the same prompts in prompts.csv, or the same file names"
        )
    return sides


def _pairs(sides: Sides) -> tuple[Pair, ...]:
    """Return the pairs, not yet measured; a prompt is shown where both clips have the same."""
    prompts = sides.a.prompts if sides.a.prompts == sides.b.prompts else None
    clips = [[_clip(file, side.folder) for file in side.files] for side in (sides.a, sides.b)]
    return tuple(map(Pair, prompts or [None] * len(clips[0]), *clips))


def _folders(sides: Sides) -> tuple[str, str] | None:
    """Return where both folders are; None if a path is not made of characters that text can hold."""
    a, b = (str(side.folder.resolve()) for side in (sides.a, sides.b))
    return (a, b) if (a + b).isprintable() else None


def _clip(file: Path, folder: Path) -> Clip:
    return Clip(file.relative_to(folder).as_posix(), sha256(file.read_bytes()).hexdigest(), 1.0)


def _matched(pair: Pair, a: Path, b: Path) -> Pair:
    measured = zip((pair.a, pair.b), measure(a, b), strict=True)
    return Pair(pair.prompt, *(Clip(clip.name, clip.sha256, *found) for clip, found in measured))


def _check_settings(kept: Plan, wanted: Plan, db: Path) -> None:
    for name in ("seed", "repeats", "identical"):
        old, new = getattr(kept, name), getattr(wanted, name)
        if old != new:
            raise ConfigError(f"'{db}' is a test with --{name} {old}, not {new}: give that, or another --db")


def _check_same(kept: Plan, wanted: Plan, db: Path) -> None:
    """Refuse to go on with other settings or other audio: the votes would be of different things."""
    _check_settings(kept, wanted, db)
    if _contents(kept) != _contents(wanted):
        odd = next((pair for pair in wanted.pairs if _content(pair) not in _contents(kept)), kept.pairs[0])
        raise ConfigError(f"'{db}' is a test of other clips (see '{odd.a.name}'): give its folders, or another --db")


def _contents(plan: Plan) -> list[tuple[str | None, str, str]]:
    return [_content(pair) for pair in plan.pairs]


def _content(pair: Pair) -> tuple[str | None, str, str]:
    return pair.prompt, pair.a.sha256, pair.b.sha256
