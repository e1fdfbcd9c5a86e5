"""The place where the groups of one reward wait while its encoder works, and from which they go on together."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from dragon_rewards.encoding import cut_of
from dragon_rewards.reward_server.judging import judge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import ThreadPoolExecutor

    import torch

    from dragon_rewards.protocols import Modality
    from dragon_rewards.reward_server.groups import Clip
    from dragon_rewards.reward_server.judging import Scores
    from dragon_rewards.rewards import Reward

AT_ONCE = 64  # clips of groups that are encoded together, so that the first ones do not wait for too many others


class Desk:
    """Takes groups of one modality for a reward; groups that came while others were scored are scored together.

    Nothing waits for others to come: a group that comes alone is scored at once.

    Attributes:
        reward: the reward that judges.
        modality: whether the groups are audio or images.
        device: where they are encoded and judged.
        cut: how long audio is cut into windows.
    """

    def __init__(self, reward: Reward, modality: Modality, device: torch.device, thread: ThreadPoolExecutor) -> None:
        """Open a desk.

        Args:
            reward: the reward that judges.
            modality: whether the groups are audio or images.
            device: where they are encoded and judged.
            thread: the only thread in which the reward's encoder works.
        """
        self.reward, self.modality, self.device, self.cut = reward, modality, device, cut_of(reward)
        self._thread = thread
        self._work: asyncio.Task[None] | None = None
        self._waiting: deque[tuple[Sequence[Clip], asyncio.Future[Scores]]] = deque()

    async def scores(self, group: Sequence[Clip]) -> Scores:
        """Return the scores of a group, after the groups that came before it.

        Raises:
            Exception: what the reward or its encoder raised on the group.
        """
        answer: asyncio.Future[Scores] = asyncio.get_running_loop().create_future()
        self._waiting.append((group, answer))
        if self._work is None:
            self._work = asyncio.create_task(self._serve())  # referred to, as a task without a reference may vanish
        return await answer

    async def _serve(self) -> None:
        while self._waiting:
            groups, answers = zip(*self._together(), strict=True)
            work = partial(judge, self.reward, self.modality, self.device, groups)
            scores = await asyncio.get_running_loop().run_in_executor(self._thread, work)
            for answer, found in zip(answers, scores, strict=True):
                if isinstance(found, Exception):
                    answer.set_exception(found)
                else:
                    answer.set_result(found)
        self._work = None

    def _together(self) -> list[tuple[Sequence[Clip], asyncio.Future[Scores]]]:
        """Take the groups that are scored next: the first one, and those after it up to `AT_ONCE` clips in all."""
        taken = [self._waiting.popleft()]
        clips = len(taken[0][0])
        while self._waiting and clips + len(self._waiting[0][0]) <= AT_ONCE:
            taken.append(self._waiting.popleft())
            clips += len(taken[-1][0])
        return taken
