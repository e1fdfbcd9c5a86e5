"""Many requests at once: nothing is lost or mixed up, what waits is scored together, and the rest is turned away."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.serving import Server
from support.sounds import tone

from dragon_rewards.media.clips import Clips
from dragon_rewards.ranking import credits_of
from dragon_rewards.rewards import compose
from reward_server.conftest import FAD, LEVEL, VENDI, ask, sound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TOGETHER = 20


def level(server: Server, seed: int) -> tuple[int, Any, dict[str, str]]:
    return ask(server, f"/rewards/{LEVEL}", {"audio": [sound(seed, 0.2, 8000)]})


def expected(seed: int) -> float:
    return -float(abs(tone(0.2, 8000, seed)).mean())


def at_once(ask: Callable[[int], Any], count: int) -> list[Any]:
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(ask, range(count)))


def test_what_waits_is_scored_together(start: Callable[..., Server]) -> None:
    """An encode takes half a second: the first request, and then 19 in batches of 8, take 2 s; one by one, 10."""
    server = start("--rewards", LEVEL)
    began = time.monotonic()
    found = at_once(partial(level, server), TOGETHER)
    assert time.monotonic() - began < 6
    assert [status for status, *_ in found] == [200] * TOGETHER
    scores = [reply["scores"][0] for _, reply, _ in found]
    assert scores == pytest.approx([expected(seed) for seed in range(TOGETHER)], rel=1e-5)


def test_what_is_too_much_is_turned_away_and_the_rest_answered(start: Callable[..., Server]) -> None:
    server = start("--rewards", LEVEL, "--queue", "3")
    found = at_once(partial(level, server), TOGETHER)
    taken = [(seed, reply) for seed, (status, reply, _) in enumerate(found) if status == 200]
    refused = [(status, reply, headers) for status, reply, headers in found if status != 200]
    assert len(taken) >= 3
    assert refused
    for status, reply, headers in refused:
        assert (status, headers["retry-after"]) == (503, "1")
        assert (
            reply["detail"] == "3 requests are held and no more: ask again, or start the server with a larger --queue"
        )
    for seed, reply in taken:
        assert reply["scores"] == pytest.approx([expected(seed)], rel=1e-5)
    assert level(server, 1)[0] == 200
    assert ask(server, "/health")[1] == {"status": "ok", "held": 0, "queue": 3}


@pytest.mark.parametrize("how", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_requests_that_were_taken_are_answered_before_the_end(
    start: Callable[..., Server], how: signal.Signals
) -> None:
    server = start("--rewards", LEVEL)
    with ThreadPoolExecutor(TOGETHER) as threads:
        asked = [threads.submit(level, server, seed) for seed in range(TOGETHER)]
        while ask(server, "/health")[1]["held"] < TOGETHER:
            time.sleep(0.01)
        assert not all(answer.done() for answer in asked)
        assert server.stop(how) == ""
        found = [answer.result() for answer in asked]
    assert [status for status, *_ in found] == [200] * TOGETHER
    assert server.process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[how]
    with pytest.raises(ConnectionRefusedError):
        level(server, 0)


def resident(server: Server) -> float:
    """MiB of memory that the server's process has."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def alone(reward: str, seeds: Sequence[int]) -> list[float]:
    audio = [torch.from_numpy(tone(1.5, 22_050, seed)[:, 0]) for seed in seeds]
    found: list[float] = credits_of(compose(reward), Clips(audio, 22_050)).tolist()
    return found


@pytest.mark.slow
def test_two_hundred_requests_twenty_at_once(start: Callable[..., Server]) -> None:
    """Each of another group, of two rewards in turn. What the server leaks would be 0.5 MiB of a body at least."""
    server = start("--rewards", f"{FAD},{VENDI}", "--queue", str(TOGETHER))

    def scored(number: int) -> tuple[int, Any]:
        files = [sound(number + more, 1.5, 22_050) for more in range(3)]
        return ask(server, f"/rewards/{(FAD, VENDI)[number % 2]}", {"audio": files})[:2]

    with ThreadPoolExecutor(TOGETHER) as threads:
        found = list(threads.map(scored, range(100)))
        before = resident(server)
        found += threads.map(scored, range(100, 200))
    assert resident(server) - before < 24
    assert [status for status, _ in found] == [200] * 200
    for number, (_, reply) in enumerate(found):
        wanted = alone((FAD, VENDI)[number % 2], range(number, number + 3))
        assert reply["scores"] == pytest.approx(wanted, rel=1e-4, abs=1e-5), number
