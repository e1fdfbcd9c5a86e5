"""Bad files of exams and blends: refused by name, or the right result; never a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.faults.kinds import RESULT_KINDS, Kind

if TYPE_CHECKING:
    from support.faults.trying import Try


pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning"),  # of long files
]


@pytest.mark.parametrize("kind", RESULT_KINDS, ids=lambda kind: kind.name)
def test_a_bad_file_is_refused_or_does_not_matter(kind: Kind, attempt: Try) -> None:
    attempt(kind)
