"""Build hollow pipelines: their networks have shapes and types, and no values, so that no weights are loaded.

"Hollow" is what this project calls a network whose weights PyTorch does not allocate. It is built on the meta device
from its configuration (`dragon_train.pipelines.loading.hollow`); here its weights become fake tensors
(`torch._subclasses.fake_tensor`), which claim to be on the CPU. So the pipeline's own code runs as it is and can be
counted (`dragon_train.estimate.counting`), although nothing is computed.
"""

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
    """Build a policy whose networks have no values, from its settings alone; schedulers and tokenizers are real.

    Args:
        info: the pipeline.
        config: the run, which says in what precision the weights are.
        mode: makes the fake tensors of the pipeline.

    Raises:
        DragonError: the settings of the pipeline cannot be read.
    """
    policy = info.factory(Loading(frozen_dtype(config), HOLLOW))
    for part in policy.pipeline.components.values():
        if isinstance(part, nn.Module):
            empty(part.to(HOLLOW), mode)
    return policy


def empty(part: nn.Module, mode: FakeTensorMode) -> None:
    """Replace the meta tensors of a network by fake ones, which claim to be on the CPU and hold nothing."""
    for module in part.modules():
        for name, weight in module.named_parameters(recurse=False):
            if weight.is_meta:
                fresh = nn.Parameter(made(weight, mode), requires_grad=weight.requires_grad)
                module.register_parameter(name, fresh)
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:
                module._buffers[name] = made(buffer, mode)  # noqa: SLF001  a buffer stays as persistent as it was


def made(like: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    """Return a fake tensor of the same shape and type."""
    with mode:
        return torch.empty(like.shape, dtype=like.dtype)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence, inside the block, torch's warnings about fake tensors.

    They say that tensors without values are copied, and that adapters with values meet them.
    """
    with warnings.catch_warnings():
        for start in ("Accessing the data pointer of FakeTensor", "The .grad attribute of a Tensor"):
            warnings.filterwarnings("ignore", message=start)
        yield


def hollow_mode() -> FakeTensorMode:
    """Return a mode that makes fake tensors, one for each pipeline.

    What is not a network's, such as a prompt's tokens, is real.
    """
    return FakeTensorMode(allow_non_fake_inputs=True)


def weight_bytes(part: nn.Module) -> int:
    """Return the bytes of a network's parameters and buffers, each counted once."""
    held = {id(tensor): tensor.nbytes for tensor in (*part.parameters(), *part.buffers())}
    return sum(held.values())
