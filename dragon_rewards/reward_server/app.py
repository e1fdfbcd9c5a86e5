"""The application of `dragon serve`: encoders for other environments, and scores of rewards for other trainers.

    GET  /health                   {"status": "ok", "held": requests, "queue": requests}
    GET  /rewards                  {"limit": bytes, "queue": requests, "rewards": [facts], "made_with": versions}
    POST /rewards/NAME             {"audio" or "images": [base64], "prompts": [texts]} -> {"scores": [numbers],
                                   "metric": number or [numbers], "better": "higher" or "lower"}
    GET  /rewards/NAME/health      what /health says
    POST /rewards/NAME/compute     {"prompt": [texts], "audio" or "image": [base64]} -> {"rewards": [numbers]}

and what `remote.server` offers, all behind the token. The last two are the form of Flow-Factory's clients, whose
`server_url` is the URL of a reward.

Statuses: 400 malformed body, 401 wrong token, 404 not served, 408 half-sent, 413 too large, 415 no JSON, 422 files that
cannot be judged, 503 too many requests wait. Each says what to do in "detail". Flow-Factory's clients drop what comes
with a status of refusal, and try again, so that 400 and 422 are {"error": detail} with status 200 for them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from dragon_rewards.remote.http import bound, guarded_app
from dragon_rewards.remote.server import encoder_service, one_thread
from dragon_rewards.reward_server.service import RewardService

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import ThreadPoolExecutor

    import torch
    from fastapi import FastAPI

    from dragon_rewards.registry import Registry
    from dragon_rewards.rewards import Reward


def build_app(
    registry: Registry,
    encoders: Iterable[str],
    rewards: Sequence[Reward],
    token: str,
    limit: int,
    queue: int,
    device: torch.device,
) -> FastAPI:
    """Build encoders and rewards, and return the application that serves them.

    Args:
        registry: where the encoders are registered.
        encoders: the names of the encoders to offer.
        rewards: the rewards to offer; an encoder that is also offered itself works for one of both at a time.
        token: the token that clients must show.
        limit: the most bytes of a body, and of what its files decode to.
        queue: the most requests for scores that are held at once.
        device: where encoders and rewards run.

    Raises:
        DragonError: an encoder is unknown, or a part could not be built.
    """
    threads: defaultdict[str, ThreadPoolExecutor] = defaultdict(one_thread)
    app = guarded_app(token)
    encoder_service(registry, encoders, limit, device, threads).add_to(app)
    RewardService(rewards, limit, queue, device, threads).add_to(app)
    bound(app, limit, "; send less at once, or see --limit-mb")
    return app
