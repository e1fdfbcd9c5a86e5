"""Pages of the notebooks: their texts and their code. They are kept without outputs, so a page shows none."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from generated import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOLDER = ROOT / "docs" / "notebooks"
LINK = re.compile(r"(?<=\]\()([^)\s]*notebooks/\w+)\.ipynb(?=\))")


def page(path: Path) -> str:
    """Return a notebook as Markdown, with a link to the file below its heading."""
    heading, *cells = (shown(cell) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])
    title, _, lead = heading.partition("\n\n")
    source = f"This is a notebook: [get the file]({path.name}) and open it in Jupyter."
    return "\n\n".join([title, source, lead, *cells])


def shown(cell: dict[str, Any]) -> str:
    """Return the Markdown of a cell: code is fenced."""
    source = "".join(cell["source"])
    return source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"


def linked(markdown: str) -> str:
    """Return a page of the site whose links to notebooks lead to their pages."""
    return LINK.sub(r"\1.md", markdown)


PAGES: dict[str, Callable[[], str]] = {
    f"notebooks/{path.stem}.md": partial(page, path) for path in sorted(FOLDER.glob("*.ipynb"))
}
