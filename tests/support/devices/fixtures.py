"""Fixtures of every test on the second device; without one of them a test sees a machine that has none."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves what asks for the second device out of the fast lane: a minute may pass until the device is compiled."""
    for item in items:
        if "second" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Shows the devices to the tests that ask for one, and hides them from the others of the process."""
    if backend := sys.modules.get("support.devices.second_device"):
        backend.show(wanted="second" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session", name="second")
def second_device() -> torch.device:
    """The first of two devices whose memory and arithmetic are the CPU's, and which refuse to mix with it."""
    from support.devices.second_device import install

    return install()


@pytest.fixture(scope="session", name="other")
def other_device(second: torch.device) -> torch.device:  # noqa: ARG001  which must be there first
    """The other one of the two, which refuses to mix with the first."""
    import torch

    return torch.device("second", 1)


@pytest.fixture(name="no_float64")
def device_without_float64(second: torch.device) -> Iterator[torch.device]:
    """The second device, which refuses float64, as Apple's do."""
    from support.devices.second_device import without_float64

    with without_float64():
        yield second


@pytest.fixture(name="second_everywhere")
def second_device_of_processes(
    second: torch.device, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> torch.device:
    """The second device, which Python processes that the test starts have, too."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(
        "from support.devices.second_device import install\ninstall()\n", encoding="utf-8"
    )
    tests = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), str(tests), os.getenv("PYTHONPATH")])))
    return second
