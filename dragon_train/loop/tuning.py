"""Decide which weights learn, and how the reference is reached: the policy with its adapters off, or a frozen copy.

`Lora` and `AllWeights` are the two ways to tune; `load_tuned` gives a pipeline the result of a finished run.
"""

from __future__ import annotations

from contextlib import contextmanager
from copy import copy, deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from msgspec import Meta, Struct
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import save

from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.storage.decoding import read_json
from dragon_rewards.storage.files import making, write_bytes
from dragon_rewards.storage.tensor_files import read_tensors, write_tensors
from dragon_train.loop.run_folder import ADAPTER, DENOISER, check_result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Policy

ADAPTER_CONFIG = "adapter_config.json"  # as peft names it
PREFIX = "base_model.model."  # which peft puts before the names of a wrapped model's layers
BROKEN = "restore it, or train again"


class Tuning(Protocol):
    """A way to tune a policy: which of its weights learn, and how its frozen reference is reached.

    Attributes:
        parameters: the weights that learn.
    """

    parameters: list[nn.Parameter]

    def reference(self) -> AbstractContextManager[None]:
        """Make the policy's denoiser the frozen reference inside the block."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """Return the tuned weights by name, for a checkpoint."""
        ...

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Restore the weights that `weights` returned."""
        ...

    def save(self, folder: Path) -> None:
        """Store the result in a folder, in the form that peft and diffusers load."""
        ...


class AllWeights:
    """Tuning of every weight of the denoiser; the reference is a frozen copy of it."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.tuned = policy, policy.denoiser
        self.frozen = deepcopy(self.tuned).requires_grad_(False)
        self.parameters = [p for p in self.tuned.parameters() if p.requires_grad]

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Put the frozen copy in place of the denoiser inside the block."""
        self.policy.denoiser = self.frozen
        try:
            yield
        finally:
            self.policy.denoiser = self.tuned

    def weights(self) -> dict[str, Tensor]:
        """Return all weights and buffers of the denoiser."""
        return dict(self.tuned.state_dict())

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Restore all weights and buffers of the denoiser."""
        self.tuned.load_state_dict(weights)

    def save(self, folder: Path) -> None:
        """Store the denoiser as diffusers does; `from_pretrained` of its class loads it.

        Raises:
            DragonError: the disk is full, or cannot be written.
        """
        model: Any = self.tuned
        try:
            with making(folder / DENOISER) as temporary:
                model.save_pretrained(temporary)
        except SafetensorError as error:  # safetensors raises the errors of the system as this
            raise DragonError(f"{folder / DENOISER} could not be stored ({error}); make room on the disk") from error


class Lora:
    """Tuning of low-rank adapters (arXiv 2106.09685) in float32; the reference is the policy with its adapters off."""

    def __init__(self, policy: Policy, config: LoraConfig) -> None:
        self.config, self.policy = config, policy
        policy.denoiser.requires_grad_(False)
        self.denoiser = inject_adapter_in_model(config, policy.denoiser)
        self.parameters = [p for p in self.denoiser.parameters() if p.requires_grad]
        for parameter in self.parameters:
            parameter.data = parameter.data.float()

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Switch the adapters off inside the block."""
        layers = [m for m in self.denoiser.modules() if isinstance(m, BaseTunerLayer)]
        for layer in layers:
            layer.enable_adapters(enabled=False)
        try:
            yield
        finally:
            for layer in layers:
                layer.enable_adapters(enabled=True)

    def weights(self) -> dict[str, Tensor]:
        """Return the weights of the adapters, without the weights that they adapt."""
        return dict(get_peft_model_state_dict(self.denoiser))

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Restore the weights of the adapters that `weights` returned."""
        set_peft_model_state_dict(self.denoiser, dict(weights))

    def save(self, folder: Path) -> None:
        """Store the adapters as peft does; `PeftModel.from_pretrained(denoiser, folder)` loads them.

        Where the pipeline can, they are stored as diffusers does, too: its `load_lora_weights(folder)` loads that.
        """
        stored = copy(self.config)
        stored.target_modules = sorted(self.config.target_modules or ())  # a set's order differs between processes
        with TemporaryDirectory() as temporary:
            stored.save_pretrained(temporary)
            write_bytes(folder / ADAPTER_CONFIG, (Path(temporary) / ADAPTER_CONFIG).read_bytes())
        weights = {name: value.contiguous() for name, value in self.weights().items()}
        pipeline = self.policy.pipeline
        if hasattr(pipeline, "save_lora_weights"):
            component = next(name for name, part in pipeline.components.items() if part is self.denoiser)
            layers: dict[str, Any] = {f"{component}_lora_layers": weights}
            pipeline.save_lora_weights(folder, save_function=store, **layers)
        write_tensors(folder / ADAPTER, {f"{PREFIX}{name}": value for name, value in weights.items()}, {})


def store(weights: dict[str, Tensor], path: str) -> None:
    """Write weights as diffusers writes them, in a file that is whole or not there at all."""
    write_bytes(Path(path), save(weights, {"format": "pt"}))


def make_tuning(policy: Policy, config: TrainConfig) -> Tuning:
    """Make the weights learn that the configuration names: adapters of some layers, or the whole denoiser.

    Raises:
        ConfigError: no layer of the denoiser has a name that `lora_targets` gives.
    """
    if config.tuning == "all":
        return AllWeights(policy)
    targets = list(config.lora_targets or policy.lora_targets)
    try:
        return Lora(policy, LoraConfig(r=config.lora_rank, lora_alpha=config.lora_rank, target_modules=targets))
    except ValueError as error:
        raise ConfigError(f"lora_targets = {targets}: {error}") from error


def load_tuned(policy: Policy, folder: Path) -> None:
    """Give `policy` what a finished run tuned.

    Raises:
        DragonError: the folder holds no result, the result of another pipeline, or a broken one.
    """
    check_result(folder)
    if (folder / ADAPTER).is_file():
        load_adapter(policy, folder)
    else:
        load_denoiser(policy, folder)


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


def load_adapter(policy: Policy, folder: Path) -> None:
    """Put the adapters of a folder into the policy's denoiser.

    Raises:
        DragonError: they are broken, or belong to other layers.
    """
    made = read_json(folder / ADAPTER_CONFIG, Adapter, BROKEN)
    tensors, _ = read_tensors(folder / ADAPTER, BROKEN)
    if made.lora_alpha != made.r:
        raise ConfigError(f"'{folder / ADAPTER_CONFIG}': lora_alpha = {made.lora_alpha}, and r = {made.r}; {BROKEN}")
    weights = {name.removeprefix(PREFIX): value for name, value in tensors.items()}
    try:
        lora = Lora(policy, LoraConfig(r=made.r, lora_alpha=made.lora_alpha, target_modules=made.target_modules))
    except ValueError as error:
        first = str(error).partition("\n")[0]
        raise ConfigError(f"{folder} was tuned on another pipeline; name that with --pipeline ({first})") from error
    with refused_as(folder / ADAPTER_CONFIG):
        check_layers(weights, lora)
    lora.load(weights)


@contextmanager
def refused_as(place: Path) -> Iterator[None]:
    """Make refusals inside the block name this place."""
    try:
        yield
    except ConfigError as refusal:
        raise ConfigError(f"'{place}': {refusal}") from refusal


def check_layers(weights: Mapping[str, Tensor], tuning: Tuning) -> None:
    """Refuse weights that have other names or shapes than the weights that are tuned.

    Raises:
        ConfigError: they are of other layers, or have other shapes.
    """
    check_shapes(weights, tuning.weights())


def check_shapes(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Refuse tensors that have other names or shapes than the wanted ones.

    Raises:
        ConfigError: a name or a shape differs.
    """
    shapes = [{name: tuple(value.shape) for name, value in tensors.items()} for tensors in (found, wanted)]
    if shapes[0] != shapes[1]:
        differing = sorted(name for name, _ in shapes[0].items() ^ shapes[1].items())
        raise ConfigError(
            f"these weights were tuned on another pipeline; name that with --pipeline (they differ in {differing[0]})"
        )


def load_denoiser(policy: Policy, folder: Path) -> None:
    """Put the denoiser of a folder in place of the policy's.

    Raises:
        DragonError: it is broken, incomplete, or of another pipeline.
    """
    kind: Any = type(policy.denoiser)
    try:
        tuned, found = kind.from_pretrained(folder / DENOISER, use_safetensors=True, output_loading_info=True)
    except Exception as error:  # of diffusers, safetensors and torch, and Python's for types that they do not have
        raise ConfigError(f"'{folder / DENOISER}' cannot be loaded ({error}); {BROKEN}") from error
    with refused_as(folder / DENOISER):
        check_shapes(tuned.state_dict(), policy.denoiser.state_dict())
    lacking = [*found["missing_keys"], *found["unexpected_keys"], *found["mismatched_keys"]]
    if lacking:
        raise ConfigError(f"'{folder / DENOISER}' is not of its configuration, such as {lacking[0]}; {BROKEN}")
    policy.denoiser = tuned.to(policy.denoiser.device)
