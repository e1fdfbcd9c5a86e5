"""Where the tests of a module install."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Removed at once: a full environment takes 2 GB."""
    path = tmp_path_factory.mktemp("installed")
    yield path
    shutil.rmtree(path)
