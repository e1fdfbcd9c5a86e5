"""Hold what the steps of a run share.

`loop.loop` makes one `Context` per run; each step's `loop.rollout.StepRollout` works with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon_train.config import TrainConfig
    from dragon_train.loop.background import BackgroundWorker
    from dragon_train.loop.processes import Processes
    from dragon_train.loop.timing import Clock
    from dragon_train.protocols import Policy


@dataclass
class Context:
    """The policy, the prompts and the helpers that every step of a run works with.

    Attributes:
        config: the configuration of the run, with what the pipeline suggests where it says nothing.
        policy: the pipeline that is tuned.
        prompts: the prompts that it is tuned on.
        processes: the processes that train together.
        clock: counts the time of the phases of a step.
        background: where clips are decoded and encoded.
    """

    config: TrainConfig
    policy: Policy
    prompts: Sequence[str]
    processes: Processes
    clock: Clock
    background: BackgroundWorker
