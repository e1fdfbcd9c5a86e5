"""Shards in worker processes and on a real Ray cluster of two nodes: the same bits, also after a worker was killed."""

from __future__ import annotations

import os
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING

import pytest
from support.clusters import two_nodes

from dragon_rewards import load_registry
from dragon_rewards.errors import DragonError
from dragon_rewards.exemplars import items, reference, window_encoder
from dragon_rewards.exemplars.audio import sounding
from dragon_rewards.exemplars.statistics import missing_shards
from dragon_rewards.exemplars.store import require_set
from dragon_rewards.media.cache import work_folder
from dragon_rewards.sharded import moments_shard
from dragon_train.bench.launchers import make_launcher
from dragon_train.cli.launching import ShardLauncher

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.cli import Rows

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.media.audio import Window
    from dragon_rewards.protocols import ExemplarSetInfo

pytestmark = pytest.mark.slow

REWARDS = ("per-song-fad:logmel@mine", "dataset-fad:logmel@airs", "vendi:clap", "fad-infinity:logmel@airs")
ENDS = {"local": "killed, perhaps for memory; the same command resumes", "ray": None}  # Ray starts it again itself


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with two_nodes():
        yield


def statistics(sets: Path, name: str) -> bytes:
    return (sets / name / "logmel.safetensors").read_bytes()


def test_launchers_make_the_same_set_and_the_same_scores(music: Path, sets: Path, rows: Rows) -> None:
    (music / "7.wav").write_text("no audio")
    rows("exemplars", "add", "mine", music, "--skip-bad", "--encoder", "logmel")
    for name in ("local", "ray"):
        where = ("--launcher", name, "--workers", "2", "--skip-bad")
        (added,) = rows("exemplars", "add", name, music, "--encoder", "logmel", *where)
        assert (added["examples"], added["encoders"]) == (8, ["logmel"])
        assert items(require_set(name)) == items(require_set("mine"))
        assert statistics(sets, name) == statistics(sets, "mine")
    for reward in REWARDS:
        local, ray = (
            [row["value"] for row in rows("score", reward, music, "--skip-bad", "--launcher", name)]
            for name in ("local", "ray")
        )
        assert local == ray
        assert local == pytest.approx([row["value"] for row in rows("score", reward, music, "--skip-bad")], rel=1e-6)
    assert list(work_folder().iterdir()) == []


def killed_once(
    folder: Path, examples: Sequence[Item], mark: Path, info: ExemplarSetInfo, encoder: str, device: str | None
) -> None:
    """Compute moments; the first process that comes to the second file of a shard is killed there."""
    begun: list[str] = []

    def dying(item: Item) -> Iterator[Window]:
        begun.append(item.sha256)
        if len(begun) == 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), SIGKILL)
        return sounding(item)

    pytest.MonkeyPatch().setattr(window_encoder, "sounding", dying)
    moments_shard(folder, examples, info, encoder, device)


@pytest.mark.parametrize("name", ENDS)
def test_a_killed_worker_loses_nothing(
    name: str, music: Path, sets: Path, rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    rows("exemplars", "add", "whole", music, "--encoder", "logmel")
    rows("exemplars", "add", "mine", music)
    info, registry, mark = require_set("mine"), load_registry(), sets.parent / "killed"
    encoder_info, encoder = registry.encoder("logmel"), registry.build_encoder("logmel")
    shards = missing_shards(info, encoder_info, encoder)
    launch = ShardLauncher(make_launcher(name, 1))
    moments_shard(shards[0].folder, shards[0].sources, info, "logmel", "cpu")
    begun = shards[0].result.stat().st_mtime_ns
    if ENDS[name]:
        with pytest.raises(DragonError, match=ENDS[name]):
            launch("encoding", shards, killed_once, mark, info, "logmel")
        assert not all(shard.done for shard in shards)
    launch("encoding", shards, killed_once, mark, info, "logmel")
    assert mark.exists()
    assert all(shard.done for shard in shards)
    assert shards[0].result.stat().st_mtime_ns == begun
    capsys.readouterr()
    reference(info, encoder_info, encoder)
    assert "encoding" not in capsys.readouterr().err
    assert statistics(sets, "mine") == statistics(sets, "whole")
