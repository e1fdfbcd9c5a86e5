"""Leave out files that no reward can judge, where that is asked for; every file is read once before the long work."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dragon_rewards.errors import AudioError, ImageError, TooFewClipsError
from dragon_rewards.media.audio import read_mono, read_windows, seconds_of
from dragon_rewards.media.clips import check_peak
from dragon_rewards.media.cut import Cut
from dragon_rewards.media.image_files import read_image
from dragon_rewards.media.prefetch import ahead, reading_threads
from dragon_rewards.protocols import Modality
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


def usable(files: Sequence[Path], medium: Modality) -> list[Path]:
    """Return the files that can be judged; name the others on stderr, with their number and what is wrong with each.

    Raises:
        AudioError: none of the files can be judged; of images an ImageError.
    """
    bad = unusable(files, medium)
    left = [file for file in files if file not in bad]
    if not left:
        refusal = AudioError if medium is Modality.AUDIO else ImageError
        raise refusal(f"none of {counted(len(files), 'file')} can be used, see above; give others")
    return left


def unusable(files: Sequence[Path], medium: Modality) -> set[Path]:
    """Return the files that no reward can judge; name them on stderr, with their number and what is wrong with each."""
    bad = faults(files, medium)
    tell_left_out(list(bad.values()), len(files))
    return set(bad)


def tell_left_out(bad: Sequence[str], files: int) -> None:
    """Say on stderr what is wrong with the files that are left out of so many; print nothing if there are none."""
    if bad:
        lines = "".join(f"  {fault}\n" for fault in bad)
        sys.stderr.write(f"left out {len(bad)} of {counted(files, 'file')}:\n{lines}")


def faults(files: Sequence[Path], medium: Modality) -> dict[Path, str]:
    """Return what is wrong with each file that no reward can judge; every file is read from end to end."""

    def fault(path: Path) -> Iterator[str | None]:
        try:
            _check(path, medium)
        except (AudioError, ImageError) as error:
            yield str(error)
        else:
            yield None

    threads = reading_threads()
    with ahead(fault, files, threads, threads) as found:
        return {path: wrong for path, wrong in zip(files, found, strict=True) if wrong}


@contextmanager
def damage_first(files: Iterable[Path], medium: Modality) -> Iterator[None]:
    """Let a file that no reward can judge be refused in place of too small a number of files, inside the block.

    Numbers are checked before anything is read, and more files beside a damaged one are no remedy.

    Raises:
        AudioError: there are too few files, and no reward can judge one of them; of images an ImageError.
        TooFewClipsError: there are too few files.
    """
    try:
        yield
    except TooFewClipsError:
        for file in files:
            _check(file, medium)
        raise


def _check(path: Path, medium: Modality) -> None:
    """Read a file from end to end, as encoding it would; raises the refusal of one that cannot be judged."""
    cut, name = Cut(), str(path)
    if medium is Modality.IMAGE:
        read_image(path)
    elif seconds_of(path) <= cut.longest:
        read_mono(path)
    else:
        check_peak(max(window.peak for window in read_windows(path, cut.window, name)), name)
