"""Two folders of four pairs: B is louder and higher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.listening import folder, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.listening import Server


@pytest.fixture(name="a", scope="session")
def folder_a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("sides") / "a", 220, 0.1)


@pytest.fixture(name="b", scope="session")
def folder_b(a: Path) -> Path:
    return folder(a.parent / "b", 880, 0.5)


@pytest.fixture(scope="session")
def server(a: Path, b: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests share, each with raters of its own: six trials, of which one repeat, one identical."""
    db = tmp_path_factory.mktemp("shared") / "votes.sqlite"
    started = serve(a, b, db, "--repeats", "1", "--identical", "1", "--title", "Which <i>sounds</i> better?")
    yield started
    started.kill()
