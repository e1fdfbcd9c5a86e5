"""How many files a reader has to open to follow one step of training."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.step_files import executed_files

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "architecture.md"
MOST = 31


@pytest.mark.slow
def test_a_step_passes_through_as_many_files_as_the_architecture_says(tmp_path: Path) -> None:
    files = executed_files(tmp_path / "run")
    assert len(files) <= MOST, "\n".join(sorted(files))
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"a step passes through {len(files)} files" in page
