"""What a body holds: one float32 tensor as safetensors, which unlike pickle can run no code, or texts as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load, save

from dragon_rewards.errors import DragonError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

MOST_HEADER = 1024  # bytes; that of one tensor takes less than 100


class WireError(DragonError):
    """A body that does not hold what its request promises."""


def pack(name: str, tensor: Tensor) -> bytes:
    """One tensor, from any device, as a body."""
    return save({name: tensor.detach().cpu().contiguous()})


def unpack(body: bytes, name: str, axes: Sequence[str]) -> Tensor:
    """The float32 tensor `name` of a body, with one dimension for each of `axes`.

    Raises:
        WireError: the body is anything else.
    """
    # Bounds the number of tensors and of dimensions before anything is parsed.
    if int.from_bytes(body[:8], "little") > MOST_HEADER:
        raise WireError(f"the body is no safetensors with a header of at most {MOST_HEADER} bytes")
    try:
        tensors = load(body)
    except Exception as error:  # of its own type, and of Python's and torch's for types and shapes they do not have
        raise WireError(f"the body is no safetensors ({type(error).__name__}: {error})") from error
    tensor = tensors.get(name)
    if len(tensors) != 1 or tensor is None or tensor.dtype != torch.float32 or tensor.ndim != len(axes):
        got = ", ".join(f"'{key}' {value.dtype} {tuple(value.shape)}" for key, value in tensors.items()) or "nothing"
        raise WireError(f"the body holds {got} instead of '{name}', torch.float32 ({', '.join(axes)})")
    return tensor


def pack_texts(texts: Sequence[str]) -> bytes:
    """Texts as a body."""
    return json.dumps(list(texts)).encode()


def unpack_texts(body: bytes) -> list[str]:
    """The texts of a body.

    Raises:
        WireError: it is no JSON list of one or more texts.
    """
    try:
        texts = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WireError(f"the body is no JSON ({error})") from error
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise WireError("the body is no JSON list of one or more texts")
    return texts
