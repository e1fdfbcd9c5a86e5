"""Docstrings are contracts in plain sentences, not captions; whatever users read says its nouns.

An ellipsis (see `ELLIPSIS`) stands for a noun that the reader has to find: it is refused in every string of the
packages and in every document.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = sorted([*ROOT.glob("dragon_*/**/*.py"), *ROOT.glob("plugins/*/*.py")])
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(path for top in ("docs", "plugins", "reports") for path in ROOT.glob(f"{top}/**/*.md"))]
)
SHORTEST = 40  # characters of a docstring: less is a caption
CAPTION = re.compile(r"(of|as|these|those|that|likewise|the same|so many)\b", re.IGNORECASE)
ELLIPSIS = re.compile(r"\b(that\s+of|those\s+of|likewise|but\s+for|lest)\b", re.IGNORECASE)


def members(tree: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """The public classes, functions and methods below a module or a class; what a function holds is its own."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from members(node)


def public(path: Path) -> Iterator[tuple[str, str | None]]:
    """The modules, classes, functions and methods that others may use, and their docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield str(path.relative_to(ROOT)), ast.get_docstring(tree)
    for node in members(tree):
        if any("setter" in ast.unparse(each) or "overload" in ast.unparse(each) for each in node.decorator_list):
            continue
        yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", ast.get_docstring(node)


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_are_sentences(path: Path) -> None:
    faults = []
    for name, text in public(path):
        if not text:
            faults.append(f"{name}: has no docstring")
            continue
        first = text.splitlines()[0]
        if len(text) < SHORTEST:
            faults.append(f"{name}: is a caption: {text!r}")
        elif CAPTION.match(first):
            faults.append(f"{name}: begins with no subject or verb: {first!r}")
    assert not faults, "\n" + "\n".join(faults)


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the text of every string of a module, docstrings and parts of f-strings included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_strings_have_no_ellipsis(path: Path) -> None:
    assert [(line, found.group()) for line, text in strings(path) for found in ELLIPSIS.finditer(text)] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_have_no_ellipsis(path: Path) -> None:
    assert ELLIPSIS.findall(path.read_text(encoding="utf-8")) == []
