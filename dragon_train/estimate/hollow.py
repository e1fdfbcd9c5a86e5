"""A pipeline whose networks have shapes and no values, so that its own code can be counted as it runs."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from dragon_train.descriptors import Loading
from dragon_train.pipelines.loading import HOLLOW, frozen_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dragon_train.config import TrainConfig
    from dragon_train.descriptors import PipelineInfo
    from dragon_train.protocols import Policy


def hollow_policy(info: PipelineInfo, config: TrainConfig, mode: FakeTensorMode) -> Policy:
    """The policy, from its settings alone: schedulers and tokenizers are real, networks are not.

    Raises:
        DragonError: as the pipeline's factory; only the settings are needed.
    """
    policy = info.factory(Loading(frozen_dtype(config), HOLLOW))
    for part in policy.pipeline.components.values():
        if isinstance(part, nn.Module):
            empty(part.to(HOLLOW), mode)
    return policy


def empty(part: nn.Module, mode: FakeTensorMode) -> None:
    """Replace what is on no device by what claims to be on the CPU, and is nowhere."""
    for module in part.modules():
        for name, weight in module.named_parameters(recurse=False):
            if weight.is_meta:
                fresh = nn.Parameter(made(weight, mode), requires_grad=weight.requires_grad)
                module.register_parameter(name, fresh)
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:
                module._buffers[name] = made(buffer, mode)  # noqa: SLF001  a buffer stays as persistent as it was


def made(like: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    """Of the same shape and type."""
    with mode:
        return torch.empty(like.shape, dtype=like.dtype)


@contextmanager
def quiet() -> Iterator[None]:
    """Without torch's warnings that tensors without values are copied, and that adapters with values meet them."""
    with warnings.catch_warnings():
        for start in ("Accessing the data pointer of FakeTensor", "The .grad attribute of a Tensor"):
            warnings.filterwarnings("ignore", message=start)
        yield


def hollow_mode() -> FakeTensorMode:
    """One for each pipeline; what is not a network's, such as a prompt's tokens, is real."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def weight_bytes(part: nn.Module) -> int:
    """Of parameters and buffers, each once."""
    held = {id(tensor): tensor.nbytes for tensor in (*part.parameters(), *part.buffers())}
    return sum(held.values())
