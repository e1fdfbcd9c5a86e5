"""Text as a terminal or a machine may be given it, wherever it is from: files, servers, raters, plugins."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

# Controls but for tab and line feed, those that reverse the direction of text, and surrogates, which no UTF-8 has.
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""A text with what a terminal would obey, or could not write, as escapes.

    Example:
        >>> print(shown("a\x1b[2J\ud800"))
        a\x1b[2J\ud800
    """
    return OBEYED.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def json_text(value: Any) -> str:
    r"""JSON that every reader takes: what is no number is null, and what a terminal would obey is escaped.

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
