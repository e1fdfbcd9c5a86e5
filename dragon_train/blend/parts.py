"""Divide the tuned weights of a denoiser into parts that get shares of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import ModuleList

from dragon_rewards.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import nn


def blocks_of(denoiser: nn.Module) -> list[str]:
    """Return the names of a denoiser's blocks: the entries of its outermost lists of modules, by name and number.

    That is `transformer_blocks.0` and so on of a transformer. Of a U-Net it is the entries of `down_blocks`, of the
    lists in `mid_block`, and of `up_blocks`: by name they stand in the order in which they compute.
    """
    lists = {name: len(module) for name, module in denoiser.named_modules() if isinstance(module, ModuleList)}
    outermost = [name for name in lists if not any(name.startswith(f"{other}.") for other in lists)]
    return [f"{name}.{number}" for name in sorted(outermost) for number in range(lists[name])]


def parts_of(denoiser: nn.Module, weights: Iterable[str], count: int) -> dict[str, int]:
    """Return the part, from 0, that each tuned weight belongs to, by its name.

    The blocks that hold tuned weights are cut into `count` contiguous parts, whose sizes differ by one block at most.
    What lies outside of the blocks belongs to the first part where it comes before them, and otherwise to the last.

    Args:
        denoiser: the network that is tuned.
        weights: the names of the tuned weights, in the denoiser's order.
        count: the number of parts.

    Raises:
        ConfigError: there are more parts than blocks.
    """
    blocks = blocks_of(denoiser)
    homes = {name: home(name, blocks) for name in weights}
    tuned = [block for block in blocks if block in homes.values()]
    most = max(len(tuned), 1)
    if count > most:
        raise ConfigError(f"--parts {count}: the run tunes {len(tuned)} blocks; give --parts {most}, or fewer")
    places = {block: place * count // most for place, block in enumerate(tuned)}
    found, outside = dict[str, int](), 0
    for name, block in homes.items():
        outside = count - 1 if block in places else outside
        found[name] = places.get(block, outside)
    return found


def home(name: str, blocks: Sequence[str]) -> str:
    """Return the block that a weight lies in; empty where it lies outside of all."""
    return next((block for block in blocks if name.startswith(f"{block}.")), "")
