"""Choose how long clips are: as the pipeline has it, or as a table of prompts asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import DragonError
from dragon_train.prompt_table import LENGTH, columns_of

if TYPE_CHECKING:
    from collections.abc import Iterable


def set_length(policy: Any, prompts: Iterable[str]) -> None:
    """Make a policy's clips as long as prompts ask for, which `prompt_table` reads as one length, if they ask.

    Raises:
        DragonError: the pipeline makes no clips of this length.
    """
    for seconds in {columns_of(prompt)[LENGTH] for prompt in prompts if LENGTH in columns_of(prompt)}:
        policy.last(seconds)


def check_seconds(seconds: float, longest: float) -> float:
    """Return the length of clips, if it is one that the pipeline can make.

    Raises:
        DragonError: it is not positive, or more than `longest`.
    """
    if not 0 < seconds <= longest:
        raise DragonError(
            f"seconds = {seconds}: this pipeline makes clips of more than 0 and at most {longest} seconds"
        )
    return seconds
