"""Load the networks of a pipeline: each once, in the precision of the run, straight to where it computes.

`HOLLOW`, PyTorch's meta device, is where networks are "loaded" without values; `dragon_train.estimate` counts on them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from diffusers import ModelMixin

from dragon_rewards.compute.devices import PRECISIONS
from dragon_rewards.errors import ConfigError, DragonError
from dragon_train.descriptors import Loading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import nn

    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Policy

DECODERS = ("vae", "vocoder", "codebook")  # stay in float32: half precision is heard
HOLLOW = torch.device("meta")
COUNTED = re.compile(r"(^|\.)position_ids$")  # 0, 1, 2, ...: older versions stored them, as transformers says
NAMED = 3  # weights that a refusal names


def frozen_dtype(config: TrainConfig) -> torch.dtype:
    """Return the type of the weights that do not learn.

    Weights that learn, and with them the whole denoiser where all of its weights do, are in float32.
    """
    return PRECISIONS.get(config.precision, torch.float32) if config.tuning == "lora" else torch.float32


def loading_of(config: TrainConfig, device: torch.device) -> Loading:
    """Return how a run on `device` wants its networks loaded, in its precision."""
    return Loading(frozen_dtype(config), device)


def of_component(name: str, loading: Loading) -> Loading:
    """Return how the pipeline's component of this name is loaded: decoders stay in float32."""
    return replace(loading, dtype=torch.float32) if name in DECODERS else loading


def load_network(kind: Any, folder: Path, loading: Loading) -> nn.Module:
    """Load a network of a class of diffusers or transformers, as `save_pretrained` wrote it, in eval mode.

    Each tensor is read, cast and moved by itself, so that the host holds no copy of the whole in another precision.

    Args:
        kind: the class of the network.
        folder: the folder of its configuration and weights.
        loading: the type and the device of its weights.

    Raises:
        OSError, ValueError: there is no such network in the folder.
        DragonError: weights are missing, which would be random, or there are some that it does not have.
    """
    dtype, device = loading.dtype or torch.float32, loading.device or torch.device("cpu")
    if device == HOLLOW:
        return hollow(kind, folder, dtype)
    name = "torch_dtype" if issubclass(kind, ModelMixin) else "dtype"
    options = {"use_safetensors": True, "low_cpu_mem_usage": True, "output_loading_info": True, name: dtype}
    try:
        network, report = kind.from_pretrained(folder, device_map={"": device}, **options)
    except NotImplementedError:  # diffusers would place what is missing, too, before it says what that is
        network, report = kind.from_pretrained(folder, **options)
    check_report(kind.__name__, folder, report)
    placed: nn.Module = network.to(device)  # buffers that are not stored were made on the CPU
    return placed


def check_report(kind: str, folder: Path, report: Mapping[str, Iterable[str]]) -> None:
    """Refuse weights that do not match the network, by its library's report of them: the libraries only warn.

    What a class is known to leave out or to ignore, and weights that are tied to others, are not in the report.

    Raises:
        DragonError: weights are missing or unexpected; the message names the first.
    """
    faults = []
    for what in ("missing", "unexpected"):
        keys = sorted(key for key in report[f"{what}_keys"] if not COUNTED.search(key))
        more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
        faults += [f"{what} {', '.join(keys[:NAMED])}{more}"] if keys else []
    if faults:
        raise DragonError(
            f"{folder}: its weights do not fit a {kind}: {'; '.join(faults)}; get the files again, or save it "
            "again with `save_pretrained`"
        )


def hollow(kind: Any, folder: Path, dtype: torch.dtype) -> nn.Module:
    """Build a network from its configuration alone, on PyTorch's meta device: its weights have shapes and no values."""
    with HOLLOW:
        if issubclass(kind, ModelMixin):
            network: nn.Module = kind.from_config(kind.load_config(folder))
        else:
            network = kind(kind.config_class.from_pretrained(folder))
    cast(network.to(HOLLOW), dtype)  # some buffers are made on the CPU in any case
    return network.eval()


def cast(part: nn.Module, dtype: torch.dtype) -> None:
    """Cast a network in place, except for what diffusers and transformers say it needs in float32."""
    kept = kept_in_float32(part, dtype)
    for name, tensor in (*part.named_parameters(), *part.named_buffers()):
        if tensor.is_floating_point() and not kept & set(name.split(".")):
            tensor.data = tensor.data.to(dtype)


def is_in(part: nn.Module, dtype: torch.dtype) -> bool:
    """Return whether a network was loaded in this precision.

    It is then as its library wants it, with some buffers in float32.
    """
    return any(parameter.dtype == dtype for parameter in part.parameters())


def kept_in_float32(part: nn.Module, dtype: torch.dtype) -> set[str]:
    """Return the names of the modules that stay in float32; transformers has some that only fp16 overflows."""
    always = getattr(part, "_keep_in_fp32_modules_strict", None)
    some = getattr(part, "_keep_in_fp32_modules", None)
    fine = dtype == torch.bfloat16 and not isinstance(part, ModelMixin)
    return {*(always or ()), *(() if fine else some or ())}


def prepared(policy: Policy, config: TrainConfig, device: torch.device) -> Policy:
    """Move the policy to a device, cast its frozen weights, and set up gradient checkpointing and compilation."""
    policy.batch, dtype = config.sampling_batch or policy.batch, frozen_dtype(config)
    for name, part in policy.pipeline.components.items() if dtype != torch.float32 else ():
        if isinstance(part, torch.nn.Module) and name not in DECODERS and not is_in(part, dtype):
            cast(part, dtype)
    policy.pipeline.to(device)
    denoiser: Any = policy.denoiser
    if config.gradient_checkpointing:
        denoiser.enable_gradient_checkpointing()
    if config.compile:
        denoiser.compile()
    return policy


def check_checkpointing(policy: Policy, config: TrainConfig) -> None:
    """Refuse gradient checkpointing of a denoiser that cannot compute its activations twice.

    Raises:
        ConfigError: the configuration asks for it, and the denoiser cannot do it.
    """
    able = getattr(policy.denoiser, "_supports_gradient_checkpointing", False)
    if config.gradient_checkpointing and not (able and getattr(policy, "checkpointing", True)):
        raise ConfigError(
            f"gradient_checkpointing = true: diffusers cannot do it for {type(policy.denoiser).__name__}, the denoiser "
            "of this pipeline; leave it out, and lower microbatch to save memory"
        )
