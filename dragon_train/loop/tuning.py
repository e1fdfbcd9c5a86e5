"""Store the result of a run, in the form that peft and diffusers load, and give a pipeline the result of another."""

from __future__ import annotations

from contextlib import contextmanager
from copy import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct
from peft import LoraConfig
from safetensors import SafetensorError
from safetensors.torch import save

from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.storage.decoding import read_json
from dragon_rewards.storage.files import making, write_bytes
from dragon_rewards.storage.tensor_files import read_tensors, write_tensors
from dragon_train.descriptors import Loading
from dragon_train.loop.learner import AllWeights, Lora, check_layers, check_shapes
from dragon_train.loop.run_folder import ADAPTER, ADAPTER_CONFIG, DENOISER, check_result, stored_config
from dragon_train.pipelines.lengths import set_length

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch
    from torch import Tensor

    from dragon_train.config import TrainConfig
    from dragon_train.descriptors import PipelineInfo
    from dragon_train.protocols import Policy

PREFIX = "base_model.model."  # which peft puts before the names of a wrapped model's layers
BROKEN = "restore it, or train again"


def save_tuned(tuning: AllWeights | Lora, folder: Path) -> None:
    """Store the result of a run in a folder, in the form that peft and diffusers load.

    Raises:
        DragonError: the disk is full, or cannot be written.
    """
    if isinstance(tuning, Lora):
        save_adapter(tuning, folder)
    else:
        save_denoiser(tuning.tuned, folder)


def save_denoiser(denoiser: Any, folder: Path) -> None:
    """Store the denoiser as diffusers does; `from_pretrained` of its class loads it.

    Raises:
        DragonError: the disk is full, or cannot be written.
    """
    try:
        with making(folder / DENOISER) as temporary:
            denoiser.save_pretrained(temporary)
    except SafetensorError as error:  # safetensors raises the errors of the system as this
        raise DragonError(f"{folder / DENOISER} could not be stored ({error}); make room on the disk") from error


def save_adapter(tuning: Lora, folder: Path) -> None:
    """Store adapters as peft does; `PeftModel.from_pretrained(denoiser, folder)` loads them.

    Where the pipeline can, they are stored as diffusers does, too: its `load_lora_weights(folder)` loads that.
    """
    stored = copy(tuning.config)
    stored.target_modules = sorted(tuning.config.target_modules or ())  # a set's order differs between processes
    with TemporaryDirectory() as temporary:
        stored.save_pretrained(temporary)
        write_bytes(folder / ADAPTER_CONFIG, (Path(temporary) / ADAPTER_CONFIG).read_bytes())
    weights = {name: value.contiguous() for name, value in tuning.weights().items()}
    pipeline = tuning.policy.pipeline
    if hasattr(pipeline, "save_lora_weights"):
        component = next(name for name, part in pipeline.components.items() if part is tuning.denoiser)
        layers: dict[str, Any] = {f"{component}_lora_layers": weights}
        pipeline.save_lora_weights(folder, save_function=store, **layers)
    write_tensors(folder / ADAPTER, {f"{PREFIX}{name}": value for name, value in weights.items()}, {})


def store(weights: dict[str, Tensor], path: str) -> None:
    """Write weights as diffusers writes them, in a file that is whole or not there at all."""
    write_bytes(Path(path), save(weights, {"format": "pt"}))


def load_tuned(policy: Policy, folder: Path) -> None:
    """Give `policy` what a finished run tuned.

    Raises:
        DragonError: the folder holds no result, the result of another pipeline, or a broken one.
    """
    check_result(folder)
    if (folder / ADAPTER).is_file():
        load_adapter(policy, folder)
    else:
        load_denoiser(policy, folder / DENOISER)


def load_policy(info: PipelineInfo, run: Path | None, device: torch.device, prompts: Iterable[str] = ()) -> Policy:
    """Load a pipeline onto a device, with the weights of a finished run if one is given.

    Args:
        info: the pipeline.
        run: the folder of the run; None for the pipeline as it is.
        device: where it computes.
        prompts: what clips will be made for; they may say how long these are.

    Raises:
        DragonError: the folder holds no finished run of this pipeline, or the pipeline cannot be loaded, or makes no
            clips of the length.
    """
    if run is not None:
        check_result(run)
    policy = info.factory(Loading(device=device))
    set_length(policy, prompts)
    if run is not None:
        load_run(policy, run)
    policy.pipeline.to(device)
    return policy


def load_run(policy: Policy, folder: Path) -> TrainConfig:
    """Give `policy` the weights that a finished run tuned, and return the run's configuration."""
    load_tuned(policy, folder)
    return stored_config(folder)


class Adapter(Struct, frozen=True):
    """The part of peft's adapter_config.json that a run chooses; `Lora.save` wrote it, and the rest is peft's default.

    Attributes:
        r: the rank of the adapters.
        lora_alpha: their scale, which a run sets equal to the rank.
        target_modules: the names of the adapted layers.
    """

    r: Annotated[int, Meta(ge=1, le=10**4)]
    lora_alpha: int
    target_modules: Annotated[list[str], Meta(min_length=1)]


def read_adapter(folder: Path) -> tuple[Adapter, dict[str, Tensor]]:
    """Return the settings of the adapters of a run, and their weights by the names of a denoiser's layers.

    Raises:
        DragonError: they are broken.
    """
    made = read_json(folder / ADAPTER_CONFIG, Adapter, BROKEN)
    tensors, _ = read_tensors(folder / ADAPTER, BROKEN)
    if made.lora_alpha != made.r:
        raise ConfigError(f"'{folder / ADAPTER_CONFIG}': lora_alpha = {made.lora_alpha}, and r = {made.r}; {BROKEN}")
    return made, {name.removeprefix(PREFIX): value for name, value in tensors.items()}


def load_adapter(policy: Policy, folder: Path) -> Lora:
    """Put the adapters of a folder into the policy's denoiser, and return them.

    Raises:
        DragonError: they are broken, or belong to other layers.
    """
    made, weights = read_adapter(folder)
    try:
        lora = Lora(policy, LoraConfig(r=made.r, lora_alpha=made.lora_alpha, target_modules=made.target_modules))
    except ValueError as error:
        first = str(error).partition("\n")[0]
        raise ConfigError(f"{folder} was tuned on another pipeline; name that with --pipeline ({first})") from error
    with refused_as(folder / ADAPTER_CONFIG):
        check_layers(weights, lora)
    lora.load(weights)
    return lora


@contextmanager
def refused_as(place: Path) -> Iterator[None]:
    """Make refusals inside the block name this place."""
    try:
        yield
    except ConfigError as refusal:
        raise ConfigError(f"'{place}': {refusal}") from refusal


def load_denoiser(policy: Policy, folder: Path) -> None:
    """Put the denoiser that diffusers saved in a folder in place of the policy's.

    Raises:
        DragonError: it is broken, incomplete, or of another pipeline.
    """
    kind: Any = type(policy.denoiser)
    try:
        tuned, found = kind.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
    except Exception as error:  # of diffusers, safetensors and torch, and Python's for types that they do not have
        raise ConfigError(f"'{folder}' cannot be loaded ({error}); {BROKEN}") from error
    with refused_as(folder):
        check_shapes(tuned.state_dict(), policy.denoiser.state_dict())
    lacking = [*found["missing_keys"], *found["unexpected_keys"], *found["mismatched_keys"]]
    if lacking:
        raise ConfigError(f"'{folder}' is not of its configuration, such as {lacking[0]}; {BROKEN}")
    policy.denoiser = tuned.to(policy.denoiser.device)
