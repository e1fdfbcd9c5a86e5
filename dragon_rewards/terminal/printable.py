"""Text that is safe for a terminal or a program to read, wherever it is from: files, servers, raters, plugins."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

# Control characters other than tab and line feed, characters that reverse the direction of text, and surrogates, which
# UTF-8 cannot encode.
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return a text in which characters that control a terminal, or cannot be written in UTF-8, are escaped.

    Example:
        >>> print(printable("a\x1b[2J\ud800"))
        a\x1b[2J\ud800
    """
    return OBEYED.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with what it counts.

    Args:
        count: the number.
        noun: what is counted, in the singular.
        plural: the plural of it; by default the singular with an s.

    Example:
        >>> counted(1, "clip"), counted(2, "clip"), counted(0, "entry", "entries")
        ('1 clip', '2 clips', '0 entries')
    """
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def json_text(value: Any) -> str:
    r"""Return JSON that every reader accepts: NaN and infinity become null, control characters are escaped.

    Example:
        >>> print(json_text({"value": float("nan"), "path": "\udcff.wav"}))
        {
          "value": null,
          "path": "\udcff.wav"
        }
    """
    text = json.dumps(_numbers(value), indent=2, ensure_ascii=False, allow_nan=False)
    return OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value
