"""How other trainers call a reward: their signatures, as read in the sources that each names, in few words of our own.

What is exported was also run once inside the originals: TRL 1.16 (which `test_trl.py` installs), `multi_score` of
flow_grpo at ac4c86e (54809b5 was read), `RewardProcessor` of Flow-Factory at a0b2bc5, local and distributed.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class TrlFunction(Protocol):
    """What GRPOTrainer takes: trl/trainer/grpo_trainer.py, `RewardFunc` and `_calculate_rewards`."""

    def __call__(
        self, prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], **kwargs: Any
    ) -> list[float]: ...


def call_as_trl(reward: TrlFunction, prompts: list[Any], ids: list[list[int]], columns: dict[str, Any]) -> list[float]:
    assert not inspect.iscoroutinefunction(reward.__call__)
    state = {"trainer_state": SimpleNamespace(global_step=0), "log_extra": print, "log_metric": print}
    texts = [" ".join(map(str, row)) for row in ids]
    rewards = reward(prompts=prompts, completions=texts, completion_ids=ids, **columns, **state)
    assert len(rewards) == len(prompts)
    return torch.tensor(rewards, dtype=torch.float32).tolist()


class FlowGrpoFunction(Protocol):
    """What `multi_score` calls: flow_grpo/rewards.py."""

    def __call__(
        self, images: Any, prompts: Sequence[str], metadata: Any
    ) -> tuple[Sequence[float], dict[str, Any]]: ...


def call_as_flow_grpo(
    factory: Callable[..., FlowGrpoFunction], images: Any, prompts: list[str], weight: float = 1.0
) -> list[float]:
    """The factory is asked for its code object, which plain functions alone have, to see whether it takes a device."""
    takes_device = "device" in factory.__code__.co_varnames
    reward = factory(torch.device("cpu")) if takes_device else factory()
    scores, _ = reward(images, prompts, [{} for _ in prompts])
    return torch.as_tensor([weight * score for score in scores]).float().tolist()


@dataclass
class RewardModelOutput:
    """src/flow_factory/rewards/abc.py."""

    rewards: Any
    extra_info: dict[str, Any] | None = None


class BaseRewardModel(ABC):
    """src/flow_factory/rewards/abc.py."""

    required_fields: tuple[str, ...] = ()
    use_tensor_inputs = False

    def __init__(self, config: Any, accelerator: Any) -> None:
        self.config, self.accelerator = config, accelerator

    @abstractmethod
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


class PointwiseRewardModel(BaseRewardModel):
    """Judges each sample on its own."""


class GroupwiseRewardModel(BaseRewardModel):
    """Judges all samples of one prompt."""


def flow_factory() -> dict[str, ModuleType]:
    """The modules that an exported reward imports."""
    rewards = ModuleType("flow_factory.rewards")
    for kind in (RewardModelOutput, PointwiseRewardModel, GroupwiseRewardModel):
        setattr(rewards, kind.__name__, kind)
    return {"flow_factory": ModuleType("flow_factory"), "flow_factory.rewards": rewards}


@dataclass(frozen=True)
class Sample:
    """src/flow_factory/samples/samples.py: `audio` is (channels, samples)."""

    prompt: str
    audio: Tensor | None = None
    audio_sample_rate: int | None = None
    image: Any = None


def call_as_flow_factory(path: str, samples: Sequence[Sample], group: int, **config: str) -> list[float]:
    """registry.py finds the class, loader.py builds it, reward_processor.py calls it with the fields that it names.

    Fields that a sample lacks are left out, and waveforms of one length come stacked.
    """
    module, name = path.rsplit(".", 1)
    model = getattr(import_module(module), name)(config=SimpleNamespace(batch_size=4, **config), accelerator=None)
    assert isinstance(model, (PointwiseRewardModel, GroupwiseRewardModel))
    assert model.use_tensor_inputs
    size = group if isinstance(model, GroupwiseRewardModel) else model.config.batch_size
    batches = [samples[start : start + size] for start in range(0, len(samples), size)]
    rewards = [model(**_fields(model, batch)).rewards for batch in batches]
    return torch.cat([torch.as_tensor(part, dtype=torch.float32) for part in rewards]).tolist()


def _fields(model: BaseRewardModel, samples: Sequence[Sample]) -> dict[str, Any]:
    named = [field for field in inspect.signature(model.__call__).parameters if hasattr(samples[0], field)]
    fields = {field: [getattr(sample, field) for sample in samples] for field in named}
    given: dict[str, Any] = {
        field: values for field, values in fields.items() if all(value is not None for value in values)
    }
    audio = given.get("audio", [])
    if len({waveform.shape for waveform in audio}) == 1:
        given["audio"] = torch.stack(audio)
    return given
