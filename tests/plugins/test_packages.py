"""The packages under `plugins/` install side by side, and their own tests pass there, on the second device too."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.environments import Environment
from support.installation import SHARED, run_tests, shared

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(folder: Path) -> Environment:
    return shared(SHARED, folder)


@pytest.mark.parametrize("package", SHARED, ids=lambda package: package.name)
def test_its_own_tests_pass(environment: Environment, package: Path) -> None:
    run_tests(environment, package, "support.devices.everywhere")
