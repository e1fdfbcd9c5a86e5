"""Keep an aesthetics head that was fitted on the user's ratings, and load it as a reduction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError
from dragon_rewards.heads import AGAIN, head_path
from dragon_rewards.reductions.aesthetics import Aesthetics, KernelHead
from dragon_rewards.registry import load_registry
from dragon_rewards.storage.tensor_files import check_tensors, read_tensors, write_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from dragon_rewards.reductions.ratings import FittedHead

TENSORS = {"support": ("float", "ratings", "dim"), "coefficients": ("float", "ratings"), "scale": ("float", "3")}


def keep(fitted: FittedHead) -> Path:
    """Store a head with the name and the identity of its encoder, and return the file; it replaces an earlier one."""
    head, path = fitted.head, head_path()
    identity = load_registry().build_encoder(fitted.encoder).identity
    tensors = {"support": head.support, "coefficients": head.coefficients, "scale": head.scale}
    figures = {"plcc": str(fitted.plcc), "srcc": str(fitted.srcc)}
    write_tensors(path, tensors, {"encoder": fitted.encoder, "identity": identity, **figures})
    return path


def load_reduction() -> Aesthetics:
    """Load the reduction `aesthetics` of the head that is kept.

    Raises:
        DragonError: the file is broken, or the encoder is no longer what the head was fitted for.
    """
    path = head_path()
    tensors, metadata = read_tensors(path, AGAIN)
    check_tensors(tensors, TENSORS, f"'{path}'", AGAIN)
    encoder = metadata.get("encoder", "")
    found = load_registry().build_encoder(encoder).identity
    if metadata.get("identity") != found:
        raise DragonError(
            f"'{path}' was fitted for identity '{metadata.get('identity')}' of encoder '{encoder}', which is '{found}' "
            f"now; {AGAIN}"
        )
    return Aesthetics(KernelHead(**{name: tensors[name] for name in TENSORS}))
