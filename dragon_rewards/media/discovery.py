"""Find the audio files below folders; every command searches in this one way and says what it left out.

Links to files and folders are followed, each folder once. Hidden files and folders, and the `__MACOSX` of archives that
a Mac made, hold no audio. A file that is named in two ways, for example by a link, counts once, under the first name.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from dragon_rewards.errors import AudioError
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

FORMATS = {  # libsndfile's name of a format, and the suffixes of its files; RAW says nothing of what it holds
    "WAV": (".wav", ".wave", ".bwf"),
    "RF64": (".rf64",),
    "W64": (".w64",),
    "AIFF": (".aiff", ".aif", ".aifc"),
    "CAF": (".caf",),
    "AU": (".au", ".snd"),
    "FLAC": (".flac",),
    "OGG": (".ogg", ".oga", ".opus"),
    "MP3": (".mp3", ".mp2"),
    "AVR": (".avr",),
    "HTK": (".htk",),
    "IRCAM": (".ircam", ".sf"),
    "NIST": (".nist", ".sph"),
    "PAF": (".paf",),
    "PVF": (".pvf",),
    "SVX": (".8svx", ".svx"),
    "VOC": (".voc",),
}
USUAL = "WAV, FLAC, OGG, Opus, MP3, AIFF or CAF"
UNDECODED = frozenset(
    {
        *(".m4a", ".m4b", ".m4p", ".m4r", ".aac", ".alac", ".3ga", ".aa", ".aax"),
        *(".wma", ".ape", ".wv", ".tta", ".tak", ".mpc", ".shn", ".dsf", ".dff", ".spx", ".amr"),
        *(".ac3", ".eac3", ".dts", ".mka", ".weba", ".ra", ".mogg"),
    }
)  # audio that libsndfile has no decoder for
ARCHIVED = "__MACOSX"
SHOWN = 5  # names of files that are left out


@cache
def suffixes() -> frozenset[str]:
    """Return the suffixes, such as `.wav`, of the files that the decoder of this machine reads."""
    from soundfile import available_formats

    return frozenset(suffix for name in available_formats() for suffix in FORMATS.get(name, ()))


@dataclass
class Found:
    """The audio that was found in folders, and the audio that cannot be decoded here.

    Attributes:
        files: the audio to take, in the order found, by its path without links, so that each file is there once.
        left_out: audio without a decoder here, by its path without links.
    """

    files: dict[str, Path] = field(default_factory=dict)
    left_out: dict[str, Path] = field(default_factory=dict)

    def add(self, path: Path) -> bool:
        """Take a file unless it is there under another name, and return whether it was taken."""
        return self.files.setdefault(os.path.realpath(path), path) is path

    def leave_out(self, path: Path) -> None:
        """Note a file of audio that cannot be decoded here."""
        self.left_out.setdefault(os.path.realpath(path), path)

    def search(self, files: Iterable[Path]) -> list[Path]:
        """Take the audio among the files of a folder, and return it; audio without a decoder is noted as left out."""
        taken = []
        for path in files:
            suffix = path.suffix.lower()
            if suffix in suffixes() and path.is_file():
                taken.append(path)
                self.add(path)
            elif suffix in suffixes() or suffix in UNDECODED:
                self.leave_out(path)
        return taken

    def tell(self) -> None:
        """Say on stderr how many files are left out, and name the first of them; print nothing if there are none."""
        if self.left_out:
            names = listed_names(list(self.left_out.values()))
            sys.stderr.write(
                f"left out, as they cannot be decoded here: {counted(len(self.left_out), 'file')}: {names}; to use "
                "them, convert them to FLAC, as in ffmpeg -i x.m4a x.flac\n"
            )


def find_audio(paths: Iterable[Path]) -> list[Path]:
    """Return the audio that paths name: files as they are given, folders as all audio below them, in sorted order.

    A file that is named twice counts once. The suffix decides what is audio. Audio that the decoder does not read is
    named on stderr.

    Raises:
        AudioError: a path does not exist, or a folder holds no audio.
    """
    found = Found()
    for path in paths:
        if path.is_file():
            found.add(path)
        elif not found.search(visible_files(path)):
            raise no_audio(path, found)
    found.tell()
    return list(found.files.values())


def check_there(paths: Iterable[Path]) -> None:
    """Refuse paths that do not exist.

    Raises:
        AudioError: a path does not exist.
    """
    for path in paths:
        if not path.exists():
            raise AudioError(f"'{path}' does not exist; check the path")


def no_audio(folder: Path, found: Found) -> AudioError:
    """Return the error for a folder in which no audio was found; it names the audio that cannot be decoded, if any."""
    if found.left_out:
        names = listed_names(list(found.left_out.values()))
        return AudioError(
            f"the folder '{folder}' holds no audio that can be decoded here, but {names}; convert it to FLAC, as in "
            "ffmpeg -i x.m4a x.flac"
        )
    return AudioError(f"the folder '{folder}' holds no audio; give one with {USUAL} files")


def listed_names(paths: Sequence[Path]) -> str:
    """Return the first five paths, joined by commas, and how many more there are."""
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(map(str, paths[:SHOWN])) + more


def visible_files(folder: Path) -> list[Path]:
    """Return all files below a folder, sorted; links are followed, and hidden files and folders are passed over.

    Raises:
        AudioError: the folder does not exist, or it or a folder below it cannot be read.
    """
    check_there([folder])
    return sorted(_below(folder, {os.path.realpath(folder)}))


def _below(folder: Path, seen: set[str]) -> Iterator[Path]:
    """Yield the files of `visible_files` in no order; `seen` holds the folders searched so far, as links may loop."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise AudioError(f"the folder '{folder}' cannot be read ({error.strerror}); make it readable") from error
    for entry in sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name)):  # a folder before links to it
        path = folder / entry.name
        if entry.name.startswith(".") or entry.name == ARCHIVED:
            continue
        if not _is_folder(entry):
            yield path
        elif (true := os.path.realpath(path)) not in seen:
            seen.add(true)
            yield from _below(path, seen)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False
