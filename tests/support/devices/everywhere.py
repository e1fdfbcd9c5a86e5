"""A plugin of pytest, for packages' own tests: every test of the process sees the second device."""

from __future__ import annotations

from support.devices.second_device import install


def pytest_configure() -> None:
    """Installs it before any test is collected."""
    install()
