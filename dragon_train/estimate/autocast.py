"""Make autocast on fake tensors, which claim to be on the CPU, behave as a CUDA device's: it keeps more in float32."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# Of "CUDA Ops that can autocast to float32" (https://docs.pytorch.org/docs/stable/amp.html) those that networks use.
IN_FLOAT32 = {
    *("__pow__", "__rpow__", "__rtruediv__", "cosine_similarity", "cumprod", "cumsum", "exp", "expm1", "group_norm"),
    *("l1_loss", "layer_norm", "log", "log1p", "log_softmax", "mse_loss", "norm", "normalize", "pow", "prod"),
    *("reciprocal", "rsqrt", "softmax", "softplus", "sum", "tan"),
}


class AsOnCuda(TorchFunctionMode):
    """A mode in which operations that CUDA's autocast computes in float32 are given their arguments in float32."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given: Any = (args, kwargs or {})
        if getattr(func, "__name__", "") in IN_FLOAT32 and torch.is_autocast_enabled("cpu"):
            given = tree_map_only(Tensor, in_full, given)
        args, named = given
        return func(*args, **named)


def checkpointed(module: Callable[..., Any], *inputs: Any) -> Any:
    """Call a module with gradient checkpointing, whose second forward pass has the mode, too.

    A mode is off while it handles a call, and the backward pass is one.
    """
    return checkpoint(module, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), AsOnCuda()))


def in_full(tensor: Tensor) -> Tensor:
    """Return a tensor of half precision as float32, and any other as it is."""
    return tensor.float() if tensor.dtype in {torch.bfloat16, torch.float16} else tensor
