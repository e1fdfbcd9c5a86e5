"""Hooks by which mkdocs fills the site: pages of the program, of notebooks and of records, and generated blocks."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import notebook_pages
import record_pages
import reference_pages
from generated import filled
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

os.environ["DRAGON_EXEMPLARS"] = os.environ["DRAGON_HEADS"] = "no such folder"  # the site lists what everyone has
NOT_RUN = re.compile(r"^<!-- not run: (.+?) -->\n", re.MULTILINE)
FILE = re.compile(r"^<!-- file: (.+?) -->\n```(\w+)$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is not in docs/."""
    pages = {**reference_pages.PAGES, **notebook_pages.PAGES, "reports/index.md": record_pages.index}
    for uri, make in pages.items():
        files.append(File.generated(config, uri, content=make()))
    for uri, path in record_pages.published().items():
        given: dict[str, Any] = (
            {"content": record_pages.text(path)} if path.suffix == ".md" else {"abs_src_path": str(path)}
        )
        files.append(File.generated(config, uri, **given))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill the generated blocks, show what the comments above fenced blocks say, and link to pages of notebooks."""
    shown = NOT_RUN.sub(r"*Not run by the tests: \1.*\n\n", filled(notebook_pages.linked(markdown)))
    return FILE.sub(r'```\2 title="\1"', shown)
