"""Docstrings are contracts in plain sentences: what a thing does, not a caption that only the name explains."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = sorted([*ROOT.glob("dragon_*/**/*.py"), *ROOT.glob("plugins/*/*.py")])
SHORTEST = 40  # characters of a docstring: less is a caption
CAPTION = re.compile(r"(of|as|these|those|that|likewise|the same|so many)\b", re.IGNORECASE)
ELLIPSIS = re.compile(r"\b(that of|those of|likewise|but for|lest)\b", re.IGNORECASE)


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
        if found := ELLIPSIS.search(text):
            faults.append(f"{name}: says {found.group()!r}")
    assert not faults, "\n" + "\n".join(faults)
