"""Start a run from weights that another run, or another tool, has tuned: find them, check them, read them.

Nothing here imports torch before weights are read, so that `dragon train` refuses what it can at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.storage.decoding import read_json
from dragon_rewards.weights import fingerprint_files
from dragon_train.loop.run_folder import (
    ADAPTER,
    ADAPTER_CONFIG,
    CHECKPOINT,
    CONFIG,
    DENOISER,
    PROMPTS,
    stored_config,
    stored_run,
)
from dragon_train.pipelines.pretrained import repository_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from torch import Tensor

    from dragon_train.config import TrainConfig
    from dragon_train.descriptors import PipelineInfo
    from dragon_train.protocols import Policy

LORA_WEIGHTS = "pytorch_lora_weights.safetensors"  # as diffusers names them
NETWORK = "diffusion_pytorch_model*.safetensors"  # the weights of a network, as diffusers names them
AGAIN = "restore it, or name another folder by start_from"


class PeftAdapter(Struct, frozen=True):
    """The part of peft's adapter_config.json by which the weights of an adapter are understood.

    Attributes:
        r: the rank.
        lora_alpha: by its ratio to the rank, B A is multiplied.
        use_rslora: whether it is by its ratio to the root of the rank.
        alpha_pattern: further values of lora_alpha, of layers by name.
        peft_type: the kind of adapter.
    """

    r: Annotated[int, Meta(ge=1, le=10**4)]
    lora_alpha: Annotated[float, Meta(ge=-1e6, le=1e6)]
    use_rslora: bool = False
    alpha_pattern: dict[str, float] | None = None
    peft_type: str = "LORA"

    @property
    def scale(self) -> float:
        """The factor of B A (of `use_rslora`: arXiv 2312.03732)."""
        return self.lora_alpha / (sqrt(self.r) if self.use_rslora else self.r)


@dataclass(frozen=True)
class Start:
    """The weights that a run starts from.

    Attributes:
        folder: where they are.
        tuning: `lora` for an adapter, `all` for a whole denoiser.
        files: all that they are read from.
    """

    folder: Path
    tuning: str
    files: tuple[Path, ...]

    @property
    def identity(self) -> str:
        """The fingerprint that the contents of the files have."""
        return fingerprint_files(self.tuning, self.files)

    @property
    def network(self) -> Path:
        """The folder in which a whole denoiser is stored."""
        return self.files[0].parent


def check_start(config: TrainConfig, out: Path) -> None:
    """Refuse what a run is to start from, as far as that can be told without torch.

    Args:
        config: the run.
        out: its folder; what is in it may have started from something else.

    Raises:
        DragonError: it is not there, damaged, of another form, rank or pipeline, or not what the run began with.
    """
    start = find_start(config)
    if start is not None:
        check_origin(start.folder, config.pipeline)
        if (start.folder / ADAPTER).is_file():
            check_rank(read_peft(start.folder).r, config, start.folder)
    if not (out / CONFIG).exists():
        return
    there, provenance = stored_run(out)
    if provenance.get("start_from", "") != (start.identity if start else ""):
        raise ConfigError(
            f"{out} holds a run with start_from = {there.start_from!r}, not {config.start_from!r} as it is now; choose "
            "another --out, or delete the folder"
        )


def start_of(run: Path) -> Start | None:
    """Return the weights that a run has started from, which are its reference; None for the pipeline's own.

    Raises:
        DragonError: they are not there any more, or are others by now.
    """
    config, provenance = stored_run(run)
    start = find_start(config)
    if start is not None and provenance.get("start_from") != start.identity:
        raise ConfigError(
            f"{run} is compared with what it started from, and start_from = '{config.start_from}' holds other weights "
            "by now; restore them"
        )
    return start


def load_reference(info: PipelineInfo, run: Path, device: torch.device, prompts: Iterable[str] = ()) -> Policy:
    """Load the model that a run started from: the pipeline, with the weights of `start_from` if the run had some.

    Args:
        info: the pipeline.
        run: the folder of the run.
        device: where it computes.
        prompts: what clips will be made for; they may say how long these are.

    Raises:
        DragonError: the pipeline or the weights cannot be loaded, or are not what the run started from.
    """
    from dragon_train.loop.learner import make_tuning
    from dragon_train.loop.tuning import load_policy

    config, start = stored_config(run), start_of(run)
    policy = load_policy(info, None, device, prompts)
    if start is not None:
        weights = take_start(policy, config)
        if weights is not None:
            make_tuning(policy, config, weights)
        policy.pipeline.to(device)
    return policy


def find_start(config: TrainConfig) -> Start | None:
    """Return the weights that a run starts from; None for the pipeline's own.

    Raises:
        ConfigError: the folder holds none, or not what `tuning` tunes.
    """
    if not config.start_from:
        return None
    folder = Path(config.start_from)
    found = next((each for each in candidates(folder) if each.files), None)
    if found is None:
        raise ConfigError(f"start_from = '{folder}': {lacking(folder)}")
    if found.tuning != config.tuning:
        what = "an adapter, which" if found.tuning == "lora" else "a whole denoiser, which"
        raise ConfigError(
            f"start_from = '{folder}': it holds {what} goes on to learn with tuning = \"{found.tuning}\", not "
            f'"{config.tuning}"'
        )
    return found


def candidates(folder: Path) -> list[Start]:
    """Return what may be in a folder, in the order in which it counts; what is not there has no files."""
    peft = [path for path in (folder / ADAPTER, folder / ADAPTER_CONFIG) if (folder / ADAPTER).is_file()]
    networks = [[*sorted(place.glob(NETWORK)), *sorted(place.glob("*.json"))] for place in (folder / DENOISER, folder)]
    whole = [files if files[:1] and files[0].match(NETWORK) else [] for files in networks]
    lora = [path for path in [folder / LORA_WEIGHTS] if path.is_file()]
    found = [("lora", peft), ("all", whole[0]), ("lora", lora), ("all", whole[1])]
    return [Start(folder, tuning, tuple(files)) for tuning, files in found]


def lacking(folder: Path) -> str:
    """Say what is wrong with a folder that holds no weights to start from, and what to do."""
    if folder.is_file():
        return "that is a file; give the folder that it is in"
    if not folder.is_dir():
        return "there is no such folder"
    if (folder / CHECKPOINT).exists():
        return f"the run has no result yet; finish it with dragon train --out {folder}"
    return (
        f"it holds no {ADAPTER} (of a run or of PEFT), no {LORA_WEIGHTS} (of diffusers) and no {NETWORK}; give the "
        "folder of a finished run, of an adapter or of a denoiser"
    )


def check_origin(folder: Path, pipeline: str) -> None:
    """Refuse the result of a run that tuned another pipeline.

    Raises:
        DragonError: it did, or its configuration cannot be read.
    """
    if not all((folder / name).exists() for name in (CONFIG, PROMPTS)):
        return  # of another tool
    theirs = stored_config(folder).pipeline
    if not same_pipeline(theirs, pipeline):
        raise ConfigError(
            f"start_from = '{folder}': that run tuned pipeline '{theirs}', not '{pipeline}'; give --pipeline {theirs}"
        )


def same_pipeline(one: str, other: str) -> bool:
    """Return whether two names are of one pipeline: one folder, or one name in any revision.

    >>> same_pipeline("owner/name@v1", "owner/name"), same_pipeline("owner/name", "embedded")
    (True, False)
    """
    if Path(one).is_dir() and Path(other).is_dir():
        return Path(one).samefile(other)
    return repository_of(one)[0] == repository_of(other)[0]


def check_rank(rank: int, config: TrainConfig, folder: Path) -> None:
    """Refuse an adapter of another rank than the run's.

    Raises:
        ConfigError: the ranks differ.
    """
    if rank != config.lora_rank:
        raise ConfigError(
            f"start_from = '{folder}': its adapter has rank {rank}, not lora_rank = {config.lora_rank}; give "
            f"--lora-rank {rank}"
        )


def read_peft(folder: Path) -> PeftAdapter:
    """Read the settings of an adapter that peft stored.

    Raises:
        DragonError: they cannot be read, or are of an adapter whose layers differ in scale or that is no LoRA.
    """
    path = folder / ADAPTER_CONFIG
    adapter = read_json(path, PeftAdapter, AGAIN)
    if adapter.peft_type != "LORA" or adapter.alpha_pattern:
        what = "alpha_pattern" if adapter.alpha_pattern else f"peft_type {adapter.peft_type}"
        raise ConfigError(f"'{path}': it has {what}, and a run starts from a LoRA of one scale; merge it, or leave it")
    return adapter


def take_start(policy: Policy, config: TrainConfig) -> dict[str, Tensor] | None:
    """Give a policy the denoiser that the run starts from, or return the weights of the adapter that it starts from.

    An adapter's scale is in its B, as adapters of a run have the scale 1: what it does is the same.

    Raises:
        DragonError: the weights are missing or damaged, or of another pipeline or rank.
    """
    start = find_start(config)
    if start is None:
        return None
    from dragon_train.loop.tuning import load_denoiser

    if start.tuning == "all":
        load_denoiser(policy, start.network)
        return None
    weights = peft_weights(start.folder) if (start.folder / ADAPTER).is_file() else diffusers_weights(policy, start)
    for name, value in weights.items():
        if ".lora_A." in name:
            check_rank(len(value), config, start.folder)
    return weights


def peft_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of an adapter that peft stored, by the names of a denoiser's layers."""
    from dragon_rewards.storage.tensor_files import read_tensors
    from dragon_train.loop.tuning import PREFIX

    adapter, (tensors, _) = read_peft(folder), read_tensors(folder / ADAPTER, AGAIN)
    return scaled({name.removeprefix(PREFIX): value for name, value in tensors.items()}, adapter.scale)


def scaled(weights: dict[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Multiply B of each adapter by its scale, in float32."""
    return {name: value.float() * (scale if ".lora_B." in name else 1) for name, value in weights.items()}


def diffusers_weights(policy: Policy, start: Start) -> dict[str, Tensor]:
    """Return the weights of an adapter that diffusers stored, in any of its formats: the pipeline's loader reads it.

    Raises:
        ConfigError: the pipeline's class loads no adapters, or the file holds none of its denoiser's alone.
    """
    pipeline: Any = policy.pipeline
    if not hasattr(pipeline, "load_lora_weights"):
        kind = type(pipeline).__name__
        raise ConfigError(f"'{start.files[0]}': a {kind} of diffusers loads no adapters; store it as PEFT does")
    try:
        pipeline.load_lora_weights(start.folder, weight_name=LORA_WEIGHTS, use_safetensors=True, local_files_only=True)
    except Exception as error:  # of diffusers, peft and safetensors, of any type for what they cannot read
        raise DragonError(f"'{start.files[0]}' cannot be loaded ({error}); {AGAIN}") from error
    try:
        return loaded_adapter(policy, start)
    finally:
        pipeline.unload_lora_weights()


def loaded_adapter(policy: Policy, start: Start) -> dict[str, Tensor]:
    """Return the weights of the one adapter in a denoiser, scaled, on the CPU.

    Raises:
        ConfigError: there is none, or further networks of the pipeline have adapters.
    """
    from peft.tuners.lora import LoraLayer
    from torch import nn

    found: dict[str, Tensor] = {}
    for part in policy.pipeline.components.values():
        layers = part.named_modules() if isinstance(part, nn.Module) else ()
        for name, layer in layers:
            if isinstance(layer, LoraLayer) and part is not policy.denoiser:
                raise ConfigError(
                    f"'{start.files[0]}' adapts a {type(part).__name__}, too, which no run tunes; {AGAIN}"
                )
            if isinstance(layer, LoraLayer):
                (adapter,) = layer.lora_A
                own = {f"{name}.lora_{side}.weight": getattr(layer, f"lora_{side}")[adapter].weight for side in "AB"}
                found |= scaled({key: value.detach().cpu() for key, value in own.items()}, layer.scaling[adapter])
    if not found:
        raise ConfigError(f"'{start.files[0]}' holds no adapter of a {type(policy.denoiser).__name__}; {AGAIN}")
    return found
