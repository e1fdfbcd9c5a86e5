"""Very many short files: how they are cut is found out once, and a reward of clips keeps values, not embeddings."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import torch
from support.sounds import write_tone

from dragon_rewards import compose, encoding
from dragon_rewards.compute.devices import CPU
from dragon_rewards.encoding import EncodingJob, Files, encode_files, encode_in_parts
from dragon_rewards.scoring import judged

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from dragon_rewards.media.cut import Cut
    from dragon_rewards.rewards import Reward

FAD = "per-song-fad:logmel@airs"


def nothing(*_: int) -> None: ...


def test_how_files_are_cut_is_found_out_once_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find, asked = encoding.cut_of, list[str]()

    def found(reward: Reward) -> Cut:
        asked.append(reward.name)
        return find(reward)

    monkeypatch.setattr(encoding, "cut_of", found)
    paths = [write_tone(tmp_path / f"{row}.wav", 0.5, seed=row) for row in range(5)]
    encode_files(EncodingJob([compose(FAD)], CPU, None, nothing), Files(paths))
    assert asked == [FAD]


def test_a_reward_of_clips_has_512_files_in_memory_and_values_in_their_order(tmp_path: Path) -> None:
    three = [write_tone(tmp_path / f"{row}.wav", 0.5 - row / 10, seed=row) for row in range(3)]
    reward, paths = compose(FAD), [three[row % 3] for row in range(520)]
    parts = [rows for rows, _ in encode_in_parts(EncodingJob([reward], CPU, None, nothing), Files(paths))]
    assert list(map(len, parts)) == [512, 8]
    assert sorted(chain.from_iterable(parts)) == list(range(520))
    each, values = (judged(reward, reward.metric, files, None, nothing, None, CPU) for files in (three, paths))
    assert len(set(each.tolist())) == 3
    torch.testing.assert_close(values, each[torch.arange(520) % 3], rtol=1e-5, atol=0)
