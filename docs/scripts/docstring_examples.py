"""An extension of griffe by which examples in docstrings are shown as code.

Docstrings have them under `Example:`, or as bare paragraphs of `>>>`; griffe knows sections called `Examples:` alone.
"""

from __future__ import annotations

import re
from textwrap import indent
from typing import Any

from griffe import Extension

HEADED = re.compile(r"^( *)Example:$", re.MULTILINE)
BARE = re.compile(r"^>>> (?:.+\n?)+", re.MULTILINE)


class DocstringExamples(Extension):  # type: ignore[misc]  # griffe is not followed
    """Give every example a heading that griffe knows."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Change the docstring of an object that was collected."""
        if obj.docstring:
            headed = HEADED.sub(r"\1Examples:", obj.docstring.value)
            obj.docstring.value = BARE.sub(lambda found: f"Examples:\n{indent(found[0], '    ')}", headed)
