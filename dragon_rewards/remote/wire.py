"""The format of bodies: one float32 tensor as safetensors, which unlike pickle cannot run code, or texts as JSON."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated

import torch
from msgspec import Meta
from safetensors.torch import save

from dragon_rewards.errors import DragonError
from dragon_rewards.storage.decoding import decode_json
from dragon_rewards.storage.tensor_files import unpack_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

Texts = Annotated[list[str], Meta(min_length=1)]
MOST_HEADER = 1024  # bytes; the header of one tensor takes less than 100
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # a surrogate as JSON escapes it


class WireError(DragonError):
    """Raised for a body that does not hold what its request promises."""


def pack(name: str, tensor: Tensor) -> bytes:
    """Return one tensor, from any device, as the bytes of a body."""
    return save({name: tensor.detach().cpu().contiguous()})


def unpack(body: bytes, name: str, axes: Sequence[str], where: str = "the body") -> Tensor:
    """Return the float32 tensor `name` of a body.

    Args:
        body: the bytes of the body.
        name: the name of the only tensor that it must hold.
        axes: the names of the tensor's axes, which set the number of its dimensions.
        where: what the body is, for error messages.

    Raises:
        WireError: the body holds anything else.
    """
    try:  # a short header bounds the number of tensors and of dimensions before anything is parsed
        tensors, _ = unpack_tensors(body, where, "send what `pack` makes", longest=MOST_HEADER, finite=False)
    except DragonError as error:
        raise WireError(str(error)) from error
    tensor = tensors.get(name)
    if len(tensors) != 1 or tensor is None or tensor.dtype != torch.float32 or tensor.ndim != len(axes):
        got = ", ".join(f"'{key}' {value.dtype} {tuple(value.shape)}" for key, value in tensors.items()) or "nothing"
        raise WireError(f"{where} holds {got} instead of '{name}', torch.float32 ({', '.join(axes)})")
    return tensor


def pack_texts(texts: Sequence[str]) -> bytes:
    """Return texts as the bytes of a body, which is a JSON list."""
    return json.dumps(list(texts)).encode()


def unpack_texts(body: bytes) -> list[str]:
    """Return the texts of a body.

    Raises:
        WireError: the body is no JSON list of one or more texts.
        DragonError: it is such a list, except that a text holds a lone surrogate.
    """
    try:
        return decode_json(body, Texts, "the body", "send a JSON list of one or more texts")
    except DragonError as error:
        if SURROGATE.search(body):  # the decoder has turned surrogates in pairs into characters
            raise DragonError("a text holds a lone surrogate, which is no character") from error
        raise WireError(str(error)) from error
