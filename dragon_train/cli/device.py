"""The option `--device`, which names where a verb computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import torch

Device = Annotated[
    str | None,
    typer.Option("--device", help="Where to compute, as in cuda:1; default: the accelerator that torch has, else cpu."),
]


def chosen_device(name: str | None) -> torch.device:
    """Return the device that `--device` names, or the default; torch is imported only now.

    Raises:
        DeviceError: torch has no such device here.
    """
    from dragon_rewards.compute.devices import find_device

    return find_device(name)
