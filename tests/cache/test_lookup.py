"""What is found again: the same samples, of the same encoder. Names and formats of files play no part."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from support.parts import RATE, Projection, TwoTower, encoder_info, noise
from torch import Tensor

from dragon_rewards.errors import EncoderError
from dragon_rewards.media import cache as cache_module
from dragon_rewards.media.audio import read_audio, write_audio
from dragon_rewards.media.cache import CacheKey, EmbeddingCache
from dragon_rewards.media.clips import Clips
from dragon_rewards.media.encodable import CPU_BATCH
from dragon_rewards.plugins import PluginRecord

INFO = encoder_info("two", TwoTower)
OWNER = PluginRecord("tests", "dragon-tests", "1.0")
MAKER = CacheKey("two", "projection-1", RATE, 4, "dragon-tests", "1.0")


def passes(clips: Clips, owner: PluginRecord | None = OWNER) -> int:
    """How often a new encoder ran for these clips."""
    encoder = TwoTower()
    clips.embeddings(INFO, encoder, owner)
    return encoder.passes


def read(path: Path, cache: EmbeddingCache) -> Clips:
    audio, rate = read_audio(path)
    return Clips(audio[None], rate, cache=cache)


def test_formats_of_one_name_do_not_collide_and_a_renamed_file_is_found(tmp_path: Path, cache: EmbeddingCache) -> None:
    for suffix in ("wav", "mp3", "ogg"):
        write_audio(tmp_path / f"a.{suffix}", noise(1)[0], RATE)
    wav, *others = [read(tmp_path / f"a.{suffix}", cache) for suffix in ("wav", "mp3", "ogg")]
    assert [passes(clips) for clips in (wav, *others)] == [1, 1, 1]
    assert len(cache.entries()) == 3
    for clips in (wav, *others):
        known = Clips(clips.audio, clips.sample_rate, cache=cache).embeddings(INFO, TwoTower(), OWNER).frames[0]
        assert torch.equal(known, TwoTower().encode_audio(clips.audio[0])[0])
    (tmp_path / "a.wav").rename(tmp_path / "b.wav")
    assert passes(read(tmp_path / "b.wav", cache)) == 0


def test_a_lossless_copy_is_found(tmp_path: Path, cache: EmbeddingCache) -> None:
    write_audio(tmp_path / "a.wav", noise(1)[0], RATE)
    soundfile.write(tmp_path / "a.flac", soundfile.read(tmp_path / "a.wav", dtype="int16")[0], RATE)
    assert [passes(read(tmp_path / f"a.{suffix}", cache)) for suffix in ("wav", "flac")] == [1, 0]


def test_the_key_changes_with_all_that_makes_an_embedding() -> None:
    clip = noise(1)
    changed = clip.clone()
    changed[0, 5000] = torch.nextafter(clip[0, 5000], torch.tensor(1.0))
    keys = [MAKER.key(clip, RATE), MAKER.key(clip, 2 * RATE), MAKER.key(changed, RATE)]
    keys += [MAKER.key(clip.reshape(2, -1), RATE), MAKER.key(clip[:, :-1], RATE)]
    changes: dict[str, Any] = dict.fromkeys(("encoder", "identity", "package", "version"), "other")
    changes |= {"sample_rate": 16_000, "dim": 8}
    assert set(changes) == {field.name for field in fields(CacheKey)}
    keys += [replace(MAKER, **{name: value}).key(clip, RATE) for name, value in changes.items()]
    assert len(set(keys)) == 5 + 6


@pytest.mark.parametrize("name", ["FORMAT", "_versions"])
def test_the_key_changes_with_the_preprocessing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = MAKER.key(noise(1), RATE)
    assert MAKER.key(noise(1), RATE) == before
    monkeypatch.setattr(cache_module, name, 2 if name == "FORMAT" else lambda: ["2.0", "3.0", "6.0"])
    assert MAKER.key(noise(1), RATE) != before


def test_a_changed_encoder_reads_nothing_stale(cache: EmbeddingCache) -> None:
    assert passes(Clips(noise(2), RATE, cache=cache)) == 1
    assert passes(Clips(noise(2), RATE, cache=cache), replace(OWNER, version="1.1")) == 1
    assert passes(Clips(noise(2), RATE, cache=cache), replace(OWNER, package="dragon-others")) == 1
    assert passes(Clips(noise(2), 2 * RATE, cache=cache)) == 1
    retrained = TwoTower()
    retrained.identity = "projection-2"
    retrained.get_buffer("weight").neg_()
    frames = Clips(noise(2), RATE, cache=cache).embeddings(INFO, retrained, OWNER).frames
    assert retrained.passes == 1
    assert torch.equal(torch.stack(list(frames)), -TwoTower().encode_audio(noise(2)))
    assert passes(Clips(noise(2), RATE, cache=cache)) == 0


def test_only_what_is_missing_is_encoded_in_the_usual_batches(cache: EmbeddingCache) -> None:
    audio = list(noise(CPU_BATCH + 8)) + [clip[:4000] for clip in noise(3, seed=1)]
    assert passes(Clips([audio[row] for row in (0, 7, 17)], RATE, cache=cache)) == 2
    sizes: list[tuple[int, ...]] = []

    class Watched(Projection):
        def encode_audio(self, audio: Tensor) -> Tensor:
            sizes.append(tuple(audio.shape))
            return super().encode_audio(audio)

    frames = Clips(audio, RATE, cache=cache).embeddings(INFO, Watched(), OWNER).frames
    assert sizes == [(2, 4000), (CPU_BATCH, 8000), (6, 8000)]
    for clip, found in zip(audio, frames, strict=True):
        torch.testing.assert_close(found, TwoTower().encode_audio(clip[None])[0])


def test_batches_before_a_failure_are_kept(cache: EmbeddingCache) -> None:
    class Failing(Projection):
        def encode_audio(self, audio: Tensor) -> Tensor:
            if audio.shape[1] == RATE:
                raise RuntimeError("it broke")
            return super().encode_audio(audio)

    short, long = [clip[:4000] for clip in noise(3)], list(noise(2))
    with pytest.raises(EncoderError, match="it broke"):
        Clips([*long, *short], RATE, cache=cache).embeddings(INFO, Failing(), OWNER)
    assert passes(Clips(short, RATE, cache=cache)) == 0
    assert passes(Clips(long, RATE, cache=cache)) == 1


def test_audio_that_requires_gradients_passes_the_cache_by(cache: EmbeddingCache) -> None:
    passes(Clips(noise(2), RATE, cache=cache))
    used = cache.entries()
    audio = noise(2).requires_grad_()
    clips = Clips(audio, RATE, cache=cache)
    torch.stack(list(clips.embeddings(INFO, TwoTower(), OWNER).frames)).sum().backward()
    assert audio.grad is not None
    assert audio.grad.abs().sum() > 0
    assert passes(Clips(noise(1, seed=3).requires_grad_(), RATE, cache=cache)) == 1
    assert sorted(entry.path for entry in cache.entries()) == sorted(entry.path for entry in used)


def test_nothing_is_kept_for_clips_without_a_cache_or_encoders_without_an_owner(cache: EmbeddingCache) -> None:
    assert passes(Clips(noise(2), RATE)) == 1
    assert passes(Clips(noise(2), RATE, cache=cache), None) == 1
    assert cache.entries() == []


def test_parts_and_joins_keep_the_cache_they_share(tmp_path: Path, cache: EmbeddingCache) -> None:
    clips, new = Clips(noise(3), RATE, cache=cache), Clips(noise(1), RATE)
    part = clips.select([2, 0])
    assert part.cache is cache
    assert Clips.concatenate([clips, part]).cache is cache
    assert Clips.concatenate([clips, new]).cache is None
    assert Clips.concatenate([new, clips]).cache is None
    other = Clips(noise(1), RATE, cache=EmbeddingCache(tmp_path / "other", 2**20))
    assert Clips.concatenate([other, clips]).cache is None


def test_kept_frames_have_the_bits_and_the_layout_of_fresh_ones(cache: EmbeddingCache) -> None:
    class Transposed(Projection):
        def encode_audio(self, audio: Tensor) -> Tensor:
            return super().encode_audio(audio).transpose(1, 2).contiguous().transpose(1, 2)

    first, second = (Clips(noise(3), RATE, cache=cache).embeddings(INFO, Transposed(), OWNER).frames for _ in range(2))
    for fresh, kept in zip(first, second, strict=True):
        assert torch.equal(fresh, kept)
        assert fresh.stride() == kept.stride()
        assert {frames.data_ptr() % 64 for frames in (fresh, kept)} == {0}
