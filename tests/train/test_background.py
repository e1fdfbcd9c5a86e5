"""Decoding and encoding beside sampling: the same generations, wherever they are judged."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from support.results import result
from support.tiny import CONFIG, tiny_run

from dragon_train.loop.rollout import BackgroundWorker

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")

CPU = torch.device("cpu")


def test_a_cpu_does_the_work_at_once() -> None:
    done: list[int] = []
    BackgroundWorker(CPU).start(lambda: done.append(threading.get_ident()))
    assert done == [threading.get_ident()]


def test_a_thread_does_the_work_in_order_beside_what_started_it() -> None:
    background, go, done = BackgroundWorker(CPU, threaded=True), threading.Event(), list[int]()

    def held_up() -> None:
        go.wait(10)
        done.append(1)

    first = background.start(held_up)
    second = background.start(lambda: done.append(2))
    assert done == []
    go.set()
    second()
    first()
    assert done == [1, 2]


def test_what_failed_aside_is_raised_where_it_is_waited_for() -> None:
    wait = BackgroundWorker(CPU, threaded=True).start(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        wait()


def test_a_run_that_judges_aside_gives_what_one_gives_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, sampling_batch=3)
    at_once = tiny_run(config, tmp_path / "at once")
    monkeypatch.setattr("dragon_train.loop.loop.BackgroundWorker", partial(BackgroundWorker, threaded=True))
    background = tiny_run(config, tmp_path / "aside")
    assert [row["reward"] for row in background] == [row["reward"] for row in at_once]
    assert all(row["decoding_s"] == 0 for row in background)  # only what was waited for is counted
    expected, found = (result(tmp_path / name) for name in ("at once", "aside"))
    assert all(torch.equal(found[key], expected[key]) for key in expected)
