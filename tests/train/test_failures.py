"""What goes wrong in the middle of a run is named, and the last finished step stays."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dragon_rewards import Direction, Embeddings, ReductionInfo, Reward, RewardKind, compose
from dragon_rewards.errors import DragonError
from dragon_rewards.registry import load_registry
from dragon_train.config import TrainConfig
from dragon_train.embedded.pipeline import load_policy
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.loop import train
from dragon_train.loop.run import load_checkpoint
from dragon_train.loop.run_folder import CHECKPOINT, has_result
from dragon_train.objectives.configured import make_objective
from dragon_train.pipelines.stable_audio import StableAudioPolicy

CONFIG = TrainConfig("loudness:logmel", steps=2, prompts_per_step=2, epochs=1, demonstration_steps=2)
Judge = Callable[[Embeddings], Tensor]


def loudness(clips: Embeddings) -> Tensor:
    return torch.stack([frames.mean() for frames in clips.frames]).double()


def reward_of(judge: Judge) -> Reward:
    """A reward whose reduction is `judge`."""

    def build() -> Any:
        return lambda clips, _: judge(clips)

    known = load_registry()
    info = ReductionInfo("loudness", RewardKind.INSTANCE, Direction.HIGHER, "mean log-mel level", build)
    owner = known.owners["register_reductions", "vendi"]
    registry = replace(
        known,
        reductions={**known.reductions, "loudness": info},
        owners={**known.owners, ("register_reductions", "loudness"): owner},
        _built={},
    )
    return compose(CONFIG.reward, registry)


def run(judge: Judge, out: Path, policy: StableAudioPolicy | None = None) -> list[float]:
    steps: list[float] = []
    reward = reward_of(judge)
    objective = make_objective(CONFIG)
    train(
        CONFIG, policy or load_policy(), reward, objective, prompts("train"), out, lambda row: steps.append(row["step"])
    )
    return steps


def from_second_step(worse: Judge) -> Judge:
    """`loudness`, whose third call, that of the second step, goes wrong."""
    calls = iter(range(100))

    def judge(clips: Embeddings) -> Tensor:
        return loudness(clips) if next(calls) < 1 else worse(clips)

    return judge


def raising(_: Embeddings) -> Tensor:
    raise KeyError("no such band")


def nan(clips: Embeddings) -> Tensor:
    return loudness(clips) * torch.nan


@pytest.mark.parametrize(
    ("worse", "words"),
    [(raising, ["loudness:logmel", "dragon-rewards", "KeyError", "no such band"]), (nan, ["not finite"])],
)
def test_a_reward_that_fails_loses_its_step_only(tmp_path: Path, worse: Judge, words: list[str]) -> None:
    with pytest.raises(DragonError) as refusal:
        run(from_second_step(worse), tmp_path)
    assert all(word in str(refusal.value) for word in ["step 2", "steps 1 to 1 are kept", *words])
    assert len(load_checkpoint(tmp_path / CHECKPOINT).rows) == 1
    assert run(loudness, tmp_path) == [2]
    assert has_result(tmp_path)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writing beyond `size` bytes fails, as on a full disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    steps = 0

    def filling(clips: Embeddings) -> Tensor:
        nonlocal steps
        steps += 1
        if steps == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        return loudness(clips)

    with (
        largest_file(resource.RLIM_INFINITY),
        pytest.raises(DragonError, match=r"checkpoint\.pt.*make room") as refusal,
    ):
        run(filling, tmp_path)
    assert "could not be stored" in str(refusal.value)
    assert len(load_checkpoint(tmp_path / CHECKPOINT).rows) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []
    assert run(loudness, tmp_path) == [2]


def test_out_of_memory_names_what_to_lower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = load_policy()

    def exhausted(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("tried to allocate 20.00 GiB")

    monkeypatch.setattr(policy, "sample", exhausted)
    with pytest.raises(DragonError, match=r"sampling_batch or microbatch.*no step was finished"):
        run(loudness, tmp_path, policy)
