"""What the option `--device` chooses: where a verb computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def chosen_device(name: str | None) -> torch.device:
    """Return the device that `--device` names, or the default; torch is imported only now.

    Raises:
        DeviceError: torch has no such device here.
    """
    from dragon_rewards.compute.devices import find_device

    return find_device(name)
