"""The built-in plugin of the user's own heads; it loads last, so that installed reductions take their names first.

A head that is broken is left out and reported among the failures (`heads.found_heads`); the others are registered.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError
from dragon_rewards.heads import AGAIN, found_heads
from dragon_rewards.hookspecs import hookimpl
from dragon_rewards.protocols import Direction, ReductionInfo, RewardKind
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_rewards.heads import HeadRecord
    from dragon_rewards.reductions.aesthetics import Aesthetics

WORDS = {"srcc": "SRCC", "accuracy": "accuracy"}
TENSORS = {"support": ("float", "ratings", "dim"), "coefficients": ("float", "ratings"), "scale": ("float", "3")}


@hookimpl
def register_reductions(register: Callable[[ReductionInfo], None]) -> None:
    """Register every head of the user's, except heads whose names are taken."""
    for record in found_heads()[0]:
        with suppress(ValueError):
            register(descriptor(record))


def descriptor(record: HeadRecord) -> ReductionInfo:
    """Return the descriptor of a head, which works with the encoder that it was fitted with alone."""
    measured = f"{WORDS[record.measure]} {record.figures[record.measure].value:.2f} on clips not seen"
    return ReductionInfo(
        name=record.reduction,
        kind=RewardKind.INSTANCE,
        direction=Direction.HIGHER,
        summary=f"{record.fitted_to} of yours, of {counted(record.clips, 'clip')} ({measured})",
        factory=partial(load, record),
        encoders=frozenset({record.encoder}),
        identity=record.sha256,
    )


def load(record: HeadRecord) -> Aesthetics:
    """Load a head.

    Raises:
        DragonError: its file is missing or damaged, or the encoder has other weights than the head was fitted with.
    """
    from dragon_rewards.reductions.aesthetics import Aesthetics, KernelHead
    from dragon_rewards.registry import load_registry
    from dragon_rewards.storage.tensor_files import check_tensors, read_tensors

    if load_registry().build_encoder(record.encoder).identity != record.identity:
        raise DragonError(
            f"head '{record.name}' was fitted with other weights of encoder '{record.encoder}' than are here; {AGAIN}"
        )
    tensors, _ = read_tensors(record.file, AGAIN)
    check_tensors(tensors, TENSORS, f"'{record.file}'", AGAIN)
    return Aesthetics(KernelHead(**{name: tensors[name] for name in TENSORS}))
