"""What tests of report pages share: the committed benchmark, prompts that are markup, and figures read off a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

QUICK = Path(__file__).parents[2] / "reports" / "bench-quick"
HOSTILE = [
    '<script>window.hacked = 1</script> a jig & "a reel"',
    '"><img src=x onerror="window.hacked = 1">',
    "</script>",
]


def figures(page: Page, selector: str) -> list[list[float]]:
    """The exact values of a table's figures, row by row."""
    read = "rows => rows.map(row => [...row.querySelectorAll('data')].map(each => Number(each.value)))"
    values: list[list[float]] = page.locator(f"{selector} tbody tr").evaluate_all(read)
    return values
