"""Which weights learn, and how the reference is reached: the policy with its adapters off, or a frozen copy."""

from __future__ import annotations

from contextlib import contextmanager
from copy import copy, deepcopy
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

from peft import LoraConfig, PeftConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dragon_rewards.errors import ConfigError
from dragon_rewards.files import replacing
from dragon_train.run_folder import ADAPTER, DENOISER, check_result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

    from dragon_train.config import TrainConfig
    from dragon_train.pipelines.base import Policy

PREFIX = "base_model.model."  # which peft puts before the names of a wrapped model's layers


class Tuning(Protocol):
    """Which weights learn, and how the reference is reached."""

    parameters: list[nn.Parameter]

    def reference(self) -> AbstractContextManager[None]:
        """Inside, the policy's denoiser is the frozen reference."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """The tuned weights, for a checkpoint."""
        ...

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Restore what `weights` gave."""
        ...

    def save(self, folder: Path) -> None:
        """Store the result in the form that peft and diffusers load."""
        ...


class AllWeights:
    """Every weight of the denoiser learns; the reference is a frozen copy."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.tuned = policy, policy.denoiser
        self.frozen = deepcopy(self.tuned).requires_grad_(False)
        self.parameters = [p for p in self.tuned.parameters() if p.requires_grad]

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Swap the frozen copy in."""
        self.policy.denoiser = self.frozen
        try:
            yield
        finally:
            self.policy.denoiser = self.tuned

    def weights(self) -> dict[str, Tensor]:
        """The denoiser's state."""
        return dict(self.tuned.state_dict())

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Restore the denoiser's state."""
        self.tuned.load_state_dict(weights)

    def save(self, folder: Path) -> None:
        """As diffusers does; `from_pretrained` of the denoiser's class loads it."""
        with TemporaryDirectory(dir=folder) as temporary:
            model: Any = self.tuned
            model.save_pretrained(Path(temporary) / DENOISER)
            rmtree(folder / DENOISER, ignore_errors=True)  # of a run that was interrupted here
            (Path(temporary) / DENOISER).replace(folder / DENOISER)


class Lora:
    """Low-rank adapters learn (arXiv 2106.09685), in float32; the reference is the policy with its adapters off."""

    def __init__(self, policy: Policy, config: LoraConfig) -> None:
        self.config, self.policy = config, policy
        policy.denoiser.requires_grad_(False)
        self.denoiser = inject_adapter_in_model(config, policy.denoiser)
        self.parameters = [p for p in self.denoiser.parameters() if p.requires_grad]
        for parameter in self.parameters:
            parameter.data = parameter.data.float()

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Switch the adapters off."""
        layers = [m for m in self.denoiser.modules() if isinstance(m, BaseTunerLayer)]
        for layer in layers:
            layer.enable_adapters(enabled=False)
        try:
            yield
        finally:
            for layer in layers:
                layer.enable_adapters(enabled=True)

    def weights(self) -> dict[str, Tensor]:
        """The adapters alone: saved together with the pipeline they would reload with fresh base weights."""
        return dict(get_peft_model_state_dict(self.denoiser))

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Restore the adapters."""
        set_peft_model_state_dict(self.denoiser, dict(weights))

    def save(self, folder: Path) -> None:
        """As peft does: `PeftModel.from_pretrained(denoiser, folder)` loads it.

        Where the pipeline can, also as diffusers does: its `load_lora_weights(folder)` loads that.
        """
        stored = copy(self.config)
        stored.target_modules = sorted(self.config.target_modules or ())  # a set's order differs between processes
        stored.save_pretrained(folder)
        weights = {name: value.contiguous() for name, value in self.weights().items()}
        with replacing(folder / ADAPTER) as temporary:
            save_file({f"{PREFIX}{name}": value for name, value in weights.items()}, temporary)
        pipeline = self.policy.pipeline
        if hasattr(pipeline, "save_lora_weights"):
            component = next(name for name, part in pipeline.components.items() if part is self.denoiser)
            pipeline.save_lora_weights(folder, **{f"{component}_lora_layers": weights})


def make_tuning(policy: Policy, config: TrainConfig) -> Tuning:
    """As configured.

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
        ConfigError: the folder holds no result, that of another pipeline, or a broken one.
    """
    check_result(folder)
    try:
        if (folder / ADAPTER).is_file():
            load_adapter(policy, folder)
        else:
            load_denoiser(policy, folder)
    except SafetensorError as error:
        raise ConfigError(f"{folder} holds weights that are broken ({error}); restore them, or train again") from error
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"{folder} was tuned on another pipeline; name that with --pipeline") from error


def load_adapter(policy: Policy, folder: Path) -> None:
    """Raises ValueError or RuntimeError where it does not fit the denoiser."""
    weights = {name.removeprefix(PREFIX): value for name, value in load_file(folder / ADAPTER).items()}
    lora = Lora(policy, PeftConfig.from_pretrained(str(folder)))
    if lora.weights().keys() != weights.keys():
        raise ValueError("its adapters are of other layers")
    lora.load(weights)


def load_denoiser(policy: Policy, folder: Path) -> None:
    """Raises ValueError or RuntimeError where its weights are not those of the denoiser."""
    kind: Any = type(policy.denoiser)
    tuned = kind.from_pretrained(folder / DENOISER)
    shapes, wanted = ({k: v.shape for k, v in net.state_dict().items()} for net in (tuned, policy.denoiser))
    if shapes != wanted:
        raise ValueError("its denoiser has other layers")
    policy.denoiser = tuned.to(policy.denoiser.device)
