"""Pages that are committed elsewhere: the records under reports/ and what each plugin says of itself.

They are published with the files that they link to, which are copied when the site is built.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from generated import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINK = re.compile(r"(?<=\]\()[^)\s#:]+(?=[)#])")
PLACES = {"reports": "reports", "plugins": "reference/plugins"}  # folder of the repository -> of the site
INDEX = "README.md"


def published() -> dict[str, Path]:
    """Return the files to publish, by their addresses in the site's sources."""
    waiting = [*ROOT.glob("reports/**/README.md"), *ROOT.glob("plugins/*/README.md"), ROOT / "reports/faults/faults.md"]
    waiting += ROOT.glob("reports/**/report.html")
    found: dict[str, Path] = {}
    while waiting:
        path = waiting.pop()
        if address(path) not in found:
            found[address(path)] = path
            waiting += linked(path) if path.suffix == ".md" else []
    return found


def address(path: Path) -> str:
    """Return where a file of the repository lies among the site's sources."""
    folder, *rest = path.relative_to(ROOT).parts
    return "/".join([PLACES[folder], *rest])


def linked(path: Path) -> Iterator[Path]:
    """Yield the files that a page links to."""
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        place = (path.parent / target).resolve()
        if place.exists():
            yield place / INDEX if place.is_dir() else place


def text(path: Path) -> str:
    """Return a page with its links to folders made links to their pages."""

    def to_page(found: re.Match[str]) -> str:
        return f"{found[0].rstrip('/')}/{INDEX}" if (path.parent / found[0]).is_dir() else found[0]

    return LINK.sub(to_page, path.read_text(encoding="utf-8"))


def index() -> str:
    """Return the page that lists the records of reports/, by their own headings."""
    records = sorted(uri for uri in published() if uri.startswith("reports/") and uri.endswith(INDEX))
    lines = [f"- [{_heading(ROOT / uri)}]({uri.removeprefix('reports/')})" for uri in records]
    head = (
        "# Records\n\nEvery record is what a command wrote on the machine of this project, two CPU cores without a "
        "GPU; the command stands in each. These are the pages that lie in `reports/` of the repository, with their "
        "figures.\n\n"
    )
    return head + "\n".join([*lines, f"- [{_heading(ROOT / 'reports/faults/faults.md')}](faults/faults.md)"]) + "\n"


def _heading(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
