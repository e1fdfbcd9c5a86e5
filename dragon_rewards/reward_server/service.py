"""The handlers of the requests for scores, and the bound on how many of them are held at once."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, HTTPException, Request

from dragon_rewards.errors import DragonError, UnknownNameError
from dragon_rewards.protocols import Modality
from dragon_rewards.provenance import provenance
from dragon_rewards.ranking import check_credits
from dragon_rewards.remote.http import TOO_LARGE, UNPROCESSABLE, body_of
from dragon_rewards.remote.wire import WireError
from dragon_rewards.reward_server.desk import Desk
from dragon_rewards.reward_server.formats import FLOW_FACTORY, OWN, Asked, read_flow_factory, read_own
from dragon_rewards.reward_server.groups import TooLargeError, read_group
from dragon_rewards.scoring import build_parts
from dragon_rewards.terminal.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import ThreadPoolExecutor

    import torch

    from dragon_rewards.reward_server.judging import Scores
    from dragon_rewards.rewards import Reward

MALFORMED, NOT_FOUND, NOT_JSON, BUSY = 400, 404, 415, 503
MEDIA = (Modality.AUDIO, Modality.IMAGE)
RETRY_AFTER = "1"  # seconds


@dataclass(frozen=True)
class RewardFacts:
    """The facts on a reward that clients are told.

    Attributes:
        name: the name of the reward.
        kind: what it judges.
        direction: whether a larger or a smaller metric is better.
        modalities: the media that it judges.
        needs_prompts: whether each clip needs a prompt.
        minimum_clips: the fewest clips of a group.
        sample_rate: the rate in Hz to which audio is resampled; 0 if it judges no audio.
        identity: the fingerprint of the encoder's weights and preprocessing.
        origin: the plugins that brought its parts, with versions, and the hash of its exemplar set.
    """

    name: str
    kind: str
    direction: str
    modalities: tuple[Modality, ...]
    needs_prompts: bool
    minimum_clips: int
    sample_rate: int
    identity: str
    origin: str


class RewardService:
    """The handlers of the requests for scores.

    At most `queue` requests are held at once, from before their bodies are read until they are answered; further ones
    are refused at once. Each takes up to three times `limit`: its body, its files, and what these decode to.
    """

    def __init__(
        self,
        rewards: Sequence[Reward],
        limit: int,
        queue: int,
        device: torch.device,
        threads: Mapping[str, ThreadPoolExecutor],
    ) -> None:
        """Build the parts of the rewards.

        Args:
            rewards: the rewards to offer.
            limit: the most bytes of a body, and of what its files decode to.
            queue: the most requests that are held at once.
            device: where clips are encoded and judged.
            threads: the thread of each encoder, by its name.

        Raises:
            DragonError: a part cannot be built.
        """
        self.limit, self.queue, self.device, self.held = limit, queue, device, 0
        self.rewards = {reward.name: reward for reward in rewards}
        for reward in rewards:
            build_parts(reward, device)
        self.desks = {
            (reward.name, modality): Desk(reward, modality, device, threads[reward.encoder.name])
            for reward in rewards
            for modality in _media_of(reward)
        }

    def add_to(self, app: FastAPI) -> None:
        """Add the routes of rewards to an application."""
        app.add_api_route("/health", self.health)
        app.add_api_route("/rewards", self.catalogue)
        app.add_api_route("/rewards/{name}", self.score, methods=["POST"])
        app.add_api_route("/rewards/{name}/health", self.health_of)
        app.add_api_route("/rewards/{name}/compute", self.compute, methods=["POST"])

    async def health(self) -> dict[str, Any]:
        """Answer that the server works, and how many requests it holds."""
        return {"status": "ok", "held": self.held, "queue": self.queue}

    async def health_of(self, name: str) -> dict[str, Any]:
        """Answer as `health` does if the reward is served."""
        self._find(name)
        return await self.health()

    async def catalogue(self) -> dict[str, Any]:
        """Answer with the served rewards, the limits, and the versions that scores are made with."""
        return {
            "limit": self.limit,
            "queue": self.queue,
            "rewards": [asdict(self._facts(reward)) for reward in self.rewards.values()],
            "made_with": provenance(device=self.device),
        }

    async def score(self, name: str, request: Request) -> dict[str, Any]:
        """Answer a request of the own form."""
        with self._place(), _refusals():
            reward = self._find(name)
            body = await _json_of(request, OWN)
            found = await self._scores(reward, await asyncio.to_thread(read_own, body))
        return {"scores": found.scores, "metric": found.metric, "better": str(reward.direction)}

    async def compute(self, name: str, request: Request) -> dict[str, Any]:
        """Answer a request of Flow-Factory's form, with status 200 where its client would drop what was wrong."""
        try:
            with self._place(), _refusals():
                reward = self._find(name)
                asked = await asyncio.to_thread(read_flow_factory, await _json_of(request, FLOW_FACTORY))
                check_credits(reward, len(asked.files))
                return {"rewards": (await self._scores(reward, asked)).scores}
        except HTTPException as refusal:
            if refusal.status_code not in {MALFORMED, UNPROCESSABLE}:
                raise
            return {"error": refusal.detail}

    async def _scores(self, reward: Reward, asked: Asked) -> Scores:
        desk = self.desks.get((reward.name, asked.modality))
        if desk is None:
            judged = " and ".join(_media_of(reward)) or "neither audio nor images"
            raise DragonError(f"'{reward.name}' judges {judged}, and '{asked.field}' holds files of {asked.modality}")
        return await desk.scores(await asyncio.to_thread(read_group, asked, reward, desk.cut, self.limit))

    def _find(self, name: str) -> Reward:
        if name not in self.rewards:
            raise HTTPException(
                404, f"{UnknownNameError('reward', name, self.rewards)} GET /rewards lists what is served"
            )
        return self.rewards[name]

    def _facts(self, reward: Reward) -> RewardFacts:
        return RewardFacts(
            name=reward.name,
            kind=str(reward.kind),
            direction=str(reward.direction),
            modalities=_media_of(reward),
            needs_prompts=reward.reduction.needs_prompts,
            minimum_clips=reward.reduction.minimum_clips,
            sample_rate=reward.encoder.sample_rate,
            identity=reward.registry.build_encoder(reward.encoder.name, self.device).identity,
            origin=reward.origin,
        )

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Hold a request for as long as the block takes.

        Raises:
            HTTPException: status 503 if as many are held as may be.
        """
        if self.held >= self.queue:
            detail = f"{self.held} requests are held and no more: ask again, or start the server with a larger --queue"
            raise HTTPException(BUSY, detail, {"Retry-After": RETRY_AFTER})
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1


def _media_of(reward: Reward) -> tuple[Modality, ...]:
    """Return the media that a reward judges here."""
    return tuple(modality for modality in MEDIA if modality in reward.encoder.modalities)


async def _json_of(request: Request, example: str) -> bytes:
    """Return the body of a request, which is read only if it is said to be JSON."""
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(
            NOT_JSON,
            f"the body is {printable(repr(kind))}: send JSON as 'application/json', {example}; a pickle, which can run "
            "code, is never read",
        )
    return await body_of(request)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn errors into statuses; errors of torch are refusals, too, as no retry would help where memory ends."""
    try:
        yield
    except TooLargeError as error:
        raise HTTPException(TOO_LARGE, str(error)) from error
    except WireError as error:
        raise HTTPException(MALFORMED, str(error)) from error
    except (DragonError, RuntimeError) as error:
        raise HTTPException(UNPROCESSABLE, str(error)) from error
