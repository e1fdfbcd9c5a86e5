"""Guard a folder of clips: new ones never come to stand beside others, or in their place, unless that is asked for."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import ConfigError
from dragon_rewards.media.discovery import UNDECODED, suffixes, visible_files
from dragon_rewards.media.prompts import OWN, clip_stem
from dragon_rewards.storage.files import scratch, write_csv
from dragon_rewards.storage.locks import locked
from dragon_rewards.storage.table_formats import read_content

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torch import Tensor

    from dragon_train.protocols import Policy

    Row = Mapping[str, Any]

SHOWN = 3  # names in a refusal


@dataclass(frozen=True)
class ClipFolder:
    """A folder that new clips go to.

    Attributes:
        path: the folder; it need not exist.
        kept: the rows of its table that stay.
        replaced: the names of clips that go when the new ones are made.
    """

    path: Path
    kept: tuple[Row, ...] = ()
    replaced: tuple[str, ...] = ()

    def numbers(self, count: int) -> Sequence[int]:
        """Return the numbers of further clips that nothing else numbers: the ones after the kept clips."""
        return range(len(self.kept), len(self.kept) + count)

    def check_free(self, prompts: Sequence[str], numbers: Iterable[int]) -> None:
        """Refuse clips of prompts and numbers whose files would take the place of others.

        Raises:
            ConfigError: a file of that name is there; the message names it.
        """
        there = self.path.iterdir() if self.path.exists() else ()
        taken = {file.stem: file.name for file in there if file.name not in self.replaced}
        for prompt, number in zip(prompts, numbers, strict=True):
            if name := taken.get(clip_stem(number, prompt)):
                raise ConfigError(f"'{self.path}' holds '{name}' already: give another --seed, or another --out")

    def write(
        self, policy: Policy, latents: Iterable[Tensor], rows: Iterable[Row], numbers: Iterable[int]
    ) -> list[dict[str, Any]]:
        """Write each clip to a file that its number and prompt name, and the rows, with their paths, to `prompts.csv`.

        Latents are taken one after the other, and may be sampled as they are taken. Files appear when all are made.

        Args:
            policy: decodes and stores the clips.
            latents: the latents of each clip.
            rows: what the table says of each clip, its `prompt` among it.
            numbers: the number of each clip, which begins the name of its file.

        Returns:
            The rows with the path of each file.
        """
        with scratch(self.path) as temporary:
            made = [
                (policy.write(own, temporary / clip_stem(number, row["prompt"])), row)
                for own, row, number in zip(latents, rows, numbers, strict=True)
            ]
            for name in self.replaced:
                (self.path / name).unlink(missing_ok=True)
            written = [{"path": str(file.replace(self.path / file.name)), **row} for file, row in made]
        self._write_table(written)
        return written

    def _write_table(self, written: Iterable[Row]) -> None:
        import pandas as pd

        fresh = [{**row, "path": Path(row["path"]).name} for row in written]  # relative: the folder may move
        write_csv(self.path / OWN, pd.DataFrame([*self.kept, *fresh]))


def clip_folder(path: Path, *, overwrite: bool, append: bool) -> ClipFolder:
    """Return a folder for new clips, checked before any is made.

    Args:
        path: where the folder is.
        overwrite: replace the clips that its table lists.
        append: keep what is there.

    Raises:
        ConfigError: clips are there and neither is asked for, or both are; or there is audio that its table does not
            list, which would stay beside the new clips.
        DragonError: the table cannot be read.
    """
    if overwrite and append:
        raise ConfigError("--overwrite replaces the clips that are there, and --append keeps them: give one of them")
    if path.exists() and not path.is_dir():
        raise ConfigError(f"'{path}' is a file; give --out the path of a folder")
    if not path.exists():
        return ClipFolder(path)
    rows = tuple(listed(path))
    names = tuple(row["path"] for row in rows)
    strange = [name for name in audio_below(path) if name not in names]
    if append:
        return ClipFolder(path, kept=rows)
    if overwrite and strange:
        raise ConfigError(
            f"'{path}' holds {some(strange)}, which its {OWN} does not list as clips and --overwrite would leave "
            "beside the new ones: move that away, or choose another --out"
        )
    there = [name for name in (*names, *strange, OWN) if (path / name).exists()]
    if there and not overwrite:
        raise ConfigError(
            f"'{path}' holds {some(there)}, and new clips beside others would be judged together with them: "
            "--overwrite replaces its clips, --append adds to them, another --out leaves them alone"
        )
    return ClipFolder(path, replaced=names)


@contextmanager
def held_folder(path: Path, *, overwrite: bool, append: bool) -> Iterator[ClipFolder]:
    """Return what `clip_folder` returns, and hold the folder against other processes inside the block.

    What is refused is refused before a lock is in the folder.
    """
    clip_folder(path, overwrite=overwrite, append=append)
    with locked(path):
        yield clip_folder(path, overwrite=overwrite, append=append)


def audio_below(path: Path) -> list[str]:
    """Return the paths, relative to a folder, of all audio below it, whether it can be decoded here or not."""
    found = [file for file in visible_files(path) if file.suffix.lower() in suffixes() | UNDECODED]
    return [file.relative_to(path).as_posix() for file in found]


def listed(path: Path) -> list[dict[str, str]]:
    """Return the rows of the table that `ClipFolder.write` wrote into a folder; none if there is no table.

    Raises:
        ConfigError: the table cannot be read, or names no files of the folder.
    """
    table = path / OWN
    if not table.is_file():
        return []
    rows = [row for _, row in read_content(table).rows]
    if any(Path(row.get("path") or "..").name != row["path"] for row in rows):
        raise ConfigError(f"'{table}' lists other things than files of this folder; choose another --out")
    return rows


def some(names: Sequence[str]) -> str:
    """Quote the first of some names, and say how many more there are.

    >>> some(["a.wav"]), some(["a", "b", "c", "d", "e"])
    ("'a.wav'", "'a', 'b', 'c' and 2 more")
    """
    shown = ", ".join(f"'{name}'" for name in names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
