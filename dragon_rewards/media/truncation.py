"""Tell whether an audio file ends before it should, by the length that its header declares.

A file that is cut off has to be told: of two files, one may be half of the other. libsndfile takes what is there for
the whole, and tells of the rest in its log alone. Formats that declare no length cannot be told, such as MP3 without a
Xing header.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from soundfile import SoundFile

# Lines of libsndfile's log: of WAV and CAF, AIFF, AU, SVX; RF64 and W64 have only the one of the whole.
CHUNK = re.compile(r"^\s*(?:data|SSND|BODY|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
WHOLE = re.compile(r"^\s*(?:riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
UNKNOWN = 2**31 - 2**16  # bytes: what writes to a pipe declares as much as a field holds, for it cannot know
PADDING = 16  # bytes: some writers count those that fill up a chunk
PAGE = 2**17  # bytes in which the last page of an Ogg stream begins, twice the longest
LAST = 4  # the flag of the last page
HEADER = 2**12  # bytes in which the first frame of an MP3 stream has its Xing header
SLACK = 2**11  # bytes: some writers are off by a frame


def shortfall(sound: SoundFile, file: BinaryIO) -> str | None:
    """Say what is missing of an open audio file; None if it is whole as far as can be told.

    Args:
        sound: the file, opened by soundfile.
        file: its bytes; the position in it changes.
    """
    if sound.format == "OGG":
        return _ogg(file)
    if sound.format == "MP3":
        return _mp3(file)
    kind = WHOLE if sound.format in {"RF64", "W64"} else CHUNK
    found = kind.search(sound.extra_info)
    declared, there = map(int, found.groups()) if found else (0, 0)
    return f"it declares {declared:,} bytes and has {there:,}" if there + PADDING < declared < _unknown(sound) else None


def _unknown(sound: SoundFile) -> int:
    """Return the number of bytes from which a declared length is a placeholder."""
    return 2**62 if sound.format in {"RF64", "W64"} else UNKNOWN


def _ogg(file: BinaryIO) -> str | None:
    """Say whether the last page of an Ogg stream is missing or cut off (RFC 3533, section 6); None if it is whole."""
    file.seek(max(0, file.seek(0, 2) - PAGE))
    tail = file.read()
    start = tail.rfind(b"OggS")
    if start < 0 or len(tail) < start + 27:
        return "its last page is missing"
    segments = tail[start + 27 : start + 27 + tail[start + 26]]
    whole = len(tail) >= start + 27 + tail[start + 26] + sum(segments)
    return None if whole and tail[start + 5] & LAST else "its last page is missing"


def _mp3(file: BinaryIO) -> str | None:
    """Say how much is missing of the bytes that the Xing header of an MP3 stream declares; None if nothing is.

    The stream begins behind the ID3 tags.
    """
    size, start = file.seek(0, 2), 0
    file.seek(0)
    while (tag := file.read(10))[:3] == b"ID3":
        start += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:10], (21, 14, 7, 0), strict=False))
        file.seek(start)
    file.seek(start)
    head = file.read(HEADER)
    at = max(head.find(b"Xing"), head.find(b"Info"))
    flags = int.from_bytes(head[at + 4 : at + 8], "big") if at >= 0 else 0
    if not flags & 2:
        return None
    declared = int.from_bytes(head[at + (12 if flags & 1 else 8) :][:4], "big")
    missing = declared - (size - start)
    return f"it declares {declared:,} bytes and has {size - start:,}" if missing > SLACK else None
