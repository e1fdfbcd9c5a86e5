"""Which files are audio: every command searches folders in this one way, and says what it left out.

Links to files and folders are followed, each folder once. Hidden files and folders, and the `__MACOSX` of archives that
a Mac made, hold no audio. A file that is named in two ways, as by a link, counts once, under the first of its names.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from dragon_rewards.errors import AudioError

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
    """Of the files that the decoder of this machine reads."""
    from soundfile import available_formats

    return frozenset(suffix for name in available_formats() for suffix in FORMATS.get(name, ()))


@dataclass
class Found:
    """What was found in folders: audio, in order and each file once, and the audio that cannot be taken."""

    files: dict[str, Path] = field(default_factory=dict)
    left_out: dict[str, Path] = field(default_factory=dict)

    def add(self, path: Path) -> bool:
        """Take a file, unless it is there under another name; whether it was taken."""
        return self.files.setdefault(os.path.realpath(path), path) is path

    def leave_out(self, path: Path) -> None:
        """Note audio that cannot be taken."""
        self.left_out.setdefault(os.path.realpath(path), path)

    def search(self, files: Iterable[Path]) -> list[Path]:
        """Take the audio among the files of a folder; returns that audio."""
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
        """Say on stderr how many files are left out, and which."""
        if self.left_out:
            names = listed_names(list(self.left_out.values()))
            sys.stderr.write(
                f"left out, as they cannot be decoded here: {len(self.left_out)} file(s): {names}; to use them, "
                "convert them to FLAC, as in ffmpeg -i x.m4a x.flac\n"
            )


def find_audio(paths: Iterable[Path]) -> list[Path]:
    """Files as given, folders as all audio below them in sorted order; what is named twice counts once.

    What the decoder reads is audio, by its suffix. Audio that it does not read is named on stderr.

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
    """Raises AudioError where a path does not exist."""
    for path in paths:
        if not path.exists():
            raise AudioError(f"'{path}' does not exist; check the path")


def no_audio(folder: Path, found: Found) -> AudioError:
    """The refusal of a folder in which nothing was found."""
    if found.left_out:
        names = listed_names(list(found.left_out.values()))
        return AudioError(
            f"the folder '{folder}' holds no audio that can be decoded here, but {names}; convert it to FLAC, as in "
            "ffmpeg -i x.m4a x.flac"
        )
    return AudioError(f"the folder '{folder}' holds no audio; give one with {USUAL} files")


def listed_names(paths: Sequence[Path]) -> str:
    """The first of some files, and how many more there are."""
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(map(str, paths[:SHOWN])) + more


def visible_files(folder: Path) -> list[Path]:
    """All that is below a folder and no folder, sorted: through links, without what is hidden.

    Raises:
        AudioError: it does not exist, or it or a folder below it cannot be read.
    """
    check_there([folder])
    return sorted(_below(folder, {os.path.realpath(folder)}))


def _below(folder: Path, seen: set[str]) -> Iterator[Path]:
    """`visible_files` in no order; `seen` are the true paths of the folders that were searched, against loops."""
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
    """Whether it is a folder or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False
