"""Launchers, which start many independent runs on this machine or on a Ray cluster, with the same files as results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.errors import UnknownNameError
from dragon_train.bench.launchers.base import Launcher, Resources, Task
from dragon_train.bench.launchers.local import LocalLauncher
from dragon_train.bench.launchers.ray import RayLauncher

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LAUNCHERS", "Launcher", "Resources", "Task", "make_launcher"]

LAUNCHERS: dict[str, Callable[[int | None, Resources, str | None], Launcher]] = {
    "local": LocalLauncher,
    "ray": RayLauncher,
}


def make_launcher(
    name: str,
    workers: int | None = None,
    resources: Resources = Resources(),  # noqa: B008  frozen
    device: str | None = None,
) -> Launcher:
    """Make the launcher of this name.

    Args:
        name: "local" or "ray".
        workers: runs at a time at most; None takes as many as there is room for.
        resources: of one run, where the launcher places runs.
        device: of all runs; None spreads them over the accelerators that are there.

    Raises:
        UnknownNameError: there is none of this name.
        ConfigError: `resources` for a launcher that does not place runs, or a device for one that does.
        DeviceError: torch has no such device here.
        DragonError: a package that it needs is missing.
    """
    if name not in LAUNCHERS:
        raise UnknownNameError("launcher", name, LAUNCHERS)
    return LAUNCHERS[name](workers, resources, device)
