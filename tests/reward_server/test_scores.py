"""Scores are what `dragon score` gives the same files, whatever their format, and what was wrong is said."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from support.serving import Server, refused
from support.sounds import tone

from dragon_rewards.compute.devices import CPU
from dragon_rewards.errors import AudioError, DragonError
from dragon_rewards.media.cut import Cut
from dragon_rewards.protocols import Modality
from dragon_rewards.registry import load_registry
from dragon_rewards.reward_server.formats import Asked
from dragon_rewards.reward_server.groups import Clip, TooLargeError, read_group
from dragon_rewards.reward_server.judging import Scores, judge
from dragon_rewards.rewards import compose
from dragon_rewards.scoring import score_files
from reward_server.conftest import FAD, PIXELS, SCORE, VENDI, ask, packed, sound

if TYPE_CHECKING:
    from pathlib import Path

FILES = [
    packed(tone(1.5, 22_050, 1, channels=2), 22_050),
    packed(tone(2, 44_100, 2), 44_100, "FLAC", "PCM_16"),
    packed(tone(1.2, 16_000, 3), 16_000, "OGG", "VORBIS"),
]
PROMPTS = ["a jig", "a slow hymn", "a waltz"]


def scored(reward: str, files: list[str], folder: Path) -> list[float]:
    """What `dragon score` says of the files, in order."""
    paths = [folder / f"{index}.wav" for index in range(len(files))]
    for path, file in zip(paths, files, strict=True):
        path.write_bytes(base64.b64decode(file))
    rows = "".join(f"{path.name},{prompt}\n" for path, prompt in zip(paths, PROMPTS, strict=False))
    (folder / "prompts.csv").write_text(f"path,prompt\n{rows}")
    return [row["value"] for row in score_files(compose(reward), paths, None, lambda *_: None, None, CPU)]


@pytest.mark.parametrize("reward", [FAD, SCORE])
def test_clips_get_what_dragon_score_gives_them(server: Server, reward: str, tmp_path: Path) -> None:
    status, found, _ = ask(server, f"/rewards/{reward}", {"audio": FILES, "prompts": PROMPTS, "metadata": {}})
    assert status == 200
    assert found["metric"] == pytest.approx(scored(reward, FILES, tmp_path), rel=1e-5)
    sign = {"lower": -1, "higher": 1}[found["better"]]
    assert found["scores"] == [sign * value for value in found["metric"]]
    assert found["better"] == str(compose(reward).direction)


def test_a_group_gets_a_value_and_its_clips_what_they_add(server: Server, tmp_path: Path) -> None:
    status, found, _ = ask(server, f"/rewards/{VENDI}", {"audio": FILES})
    (whole,) = scored(VENDI, FILES, tmp_path)
    without = [scored(VENDI, FILES[:at] + FILES[at + 1 :], tmp_path)[0] for at in range(3)]
    assert (status, found["metric"]) == (200, pytest.approx(whole, rel=1e-6))
    assert found["scores"] == pytest.approx([whole - less for less in without], abs=1e-6)
    _, pair, _ = ask(server, f"/rewards/{VENDI}", {"audio": FILES[:2]})
    assert (pair["scores"], pair["metric"]) == (None, pytest.approx(without[2], rel=1e-6))


def test_images_are_scored_by_a_reward_of_images(server: Server) -> None:
    pixels = np.full((4, 6, 3), (255, 0, 51), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    status, found, _ = ask(server, f"/rewards/{PIXELS}", {"images": [base64.b64encode(file.getvalue()).decode()]})
    assert (status, found["metric"]) == (200, pytest.approx([pixels.mean() / 255], rel=1e-6))
    assert found["scores"] == [-found["metric"][0]]


@pytest.mark.slow
def test_long_files_are_cut_as_dragon_score_cuts_them(tmp_path: Path) -> None:
    files = [packed(tone(310, 4000, 1), 4000, "OGG", "VORBIS"), sound()]
    long, short = group = read_group(_audio(files), compose(FAD), Cut(), 2**26)
    assert ([len(window) for window in long.windows], len(short.windows)) == ([480_000] * 10 + [160_000], 1)
    (found,) = judge(compose(FAD), Modality.AUDIO, CPU, [group])
    assert isinstance(found, Scores)
    assert found.metric == pytest.approx(scored(FAD, files, tmp_path), rel=1e-5)


def test_windows_are_those_of_the_set_and_silence_is_left_out() -> None:
    audio = np.concatenate([tone(1, 16_000, 1), np.zeros((16_000, 1), "float32"), tone(1.5, 16_000, 2)])
    (clip,) = read_group(_audio([packed(audio)]), compose(FAD), Cut(1.0, 1.0), 2**20)
    assert [len(window) for window in clip.windows] == [16_000, 16_000]
    (short,) = read_group(_audio([sound()]), compose(FAD), Cut(1.0, 1.0), 2**20)
    assert [len(window) for window in short.windows] == [16_000]


def _audio(files: list[str]) -> Asked:
    return Asked(Modality.AUDIO, "audio", [base64.b64decode(file) for file in files], None)


def test_what_files_decode_to_is_bounded_before_they_are_decoded() -> None:
    small = packed(tone(60, 8000)[:, 0], 8000, "OGG", "VORBIS")
    assert len(small) < 2**20
    with pytest.raises(TooLargeError, match=r"with 'audio\[1\]' the files decode to more than 1048576 bytes"):
        read_group(_audio([sound(), small]), compose(FAD), Cut(), 2**20)
    file = io.BytesIO()
    Image.new("RGB", (3000, 3000)).save(file, "PNG")
    plain = Asked(Modality.IMAGE, "images", [file.getvalue()], None)
    with pytest.raises(TooLargeError, match=r"images\[0\]"):
        read_group(plain, compose(FAD), Cut(), 2**20)


def test_a_group_that_fails_leaves_the_others_their_scores() -> None:
    reward = compose(VENDI)
    good = [Clip(f"audio[{seed}]", [torch.from_numpy(tone(1, 16_000, seed)[:, 0])], "") for seed in range(3)]
    short = [Clip("audio[0]", [torch.full((10,), 0.1)], ""), *good[:1]]
    (alone,) = judge(reward, Modality.AUDIO, CPU, [good])
    first, failed, last = judge(reward, Modality.AUDIO, CPU, [good, short, good])
    assert isinstance(failed, AudioError | DragonError)
    assert "'audio[0]'" in str(failed)
    assert isinstance(alone, Scores)
    assert first == last == alone


SOUNDS = [sound(seed) for seed in range(3)]
NOT_FINITE = packed(np.array([[0.1], [np.nan], [0.1]], "float32"))
REFUSED = {
    "no JSON": (FAD, b"{", 400, "the body cannot be read"),
    "no base64": (FAD, {"audio": ["?"]}, 400, "Invalid base64 encoded string - at `$.audio[0]`"),
    "an unknown field": (FAD, {"sounds": SOUNDS}, 400, "unknown field `sounds`"),
    "an empty group": (FAD, {"audio": []}, 400, "'audio' is an empty group: send one file or more"),
    "no media": (FAD, {"prompts": []}, 400, "the body has 0 kinds of media: send either 'audio' or 'images'"),
    "both media": (FAD, {"audio": SOUNDS, "images": SOUNDS}, 400, "the body has 2 kinds of media"),
    "prompts": (FAD, {"audio": SOUNDS, "prompts": ["a"]}, 400, "1 prompt for 3 files: send one prompt for each file"),
    "no audio": (FAD, {"audio": [SOUNDS[0], "aaaa"]}, 422, "'audio[1]' cannot be read as audio"),
    "not finite": (FAD, {"audio": [NOT_FINITE]}, 422, "'audio[0]' holds values that are not finite"),
    "silence": (FAD, {"audio": [packed(np.zeros((999, 1), "float32"))]}, 422, "'audio[0]' is silent"),
    "a tick": (FAD, {"audio": [packed(np.full((9, 1), 0.1, "float32"))]}, 422, "'audio[0]'"),
    "empty": (
        SCORE,
        {"audio": SOUNDS, "prompts": ["a jig", " ", "a reel"]},
        422,
        "the prompt of 'audio[1]' is empty: send what",
    ),
    "no prompts": (SCORE, {"audio": SOUNDS}, 422, "compares clips with their prompts: send one prompt for each file"),
    "too few": (VENDI, {"audio": SOUNDS[:1]}, 422, "judges at least 2 clips at once, and got 1"),
    "another medium": (FAD, {"images": SOUNDS}, 422, "judges audio, and 'images' holds files of image"),
    "no image": (PIXELS, {"images": SOUNDS[:1]}, 422, "'images[0]' cannot be read as an image"),
    "an unknown reward": ("vendi:clip", {"audio": SOUNDS}, 404, "unknown reward 'vendi:clip'; did you mean vendi:clap"),
    "too large": (FAD, b" " * (2**22 + 1), 413, "the body is larger than 4194304 bytes"),
    "too much in it": (FAD, {"audio": [packed(tone(90, 16_000)[:, 0], form="OGG", subtype="VORBIS")]}, 413, "audio[0]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_request_is_refused_with_the_reason(server: Server, case: str) -> None:
    reward, body, status, said = REFUSED[case]
    found = ask(server, f"/rewards/{reward}", body)
    assert (found[0], set(found[1])) == (status, {"detail"})
    assert said in found[1]["detail"]


def test_rewards_say_what_they_are(server: Server) -> None:
    status, found, _ = ask(server, "/rewards")
    rewards = {facts["name"]: facts for facts in found["rewards"]}
    assert (status, found["limit"], found["queue"], set(rewards)) == (200, 2**22, 64, {FAD, VENDI, SCORE, PIXELS})
    fad = rewards[FAD]
    assert (fad["kind"], fad["direction"], fad["modalities"]) == ("instance-to-distribution", "lower", ["audio"])
    assert (rewards[VENDI]["minimum_clips"], rewards[SCORE]["needs_prompts"], fad["sample_rate"]) == (2, True, 16_000)
    assert fad["identity"] == load_registry().build_encoder("clap").identity
    assert fad["origin"] == compose(FAD).origin
    assert found["made_with"]["packages"]["torch"] == torch.__version__
    assert [facts["name"] for facts in ask(server, "/encoders")[1]["encoders"]] == ["clap"]
    assert ask(server, "/health")[1] == {"status": "ok", "held": 0, "queue": 64}


@pytest.mark.parametrize("path", ["/health", "/rewards", f"/rewards/{FAD}/health"])
def test_nothing_is_answered_without_the_token(server: Server, path: str) -> None:
    wrong = base64.b64encode(b"dragon:wrong").decode()
    for header in ("", "Bearer x", "Basic", "Basic ?", f"Basic {wrong}", f"Digest {server.token}"):
        assert ask(server, path, Authorization=header)[0] == 401
    right = base64.b64encode(f"dragon:{server.token}".encode()).decode()
    assert ask(server, path, Authorization=f"Basic {right}")[0] == 200


def test_what_cannot_be_served_is_refused_at_once(parts: Path) -> None:
    assert "there is nothing to serve: give --encoders or --rewards" in refused(site=parts)
    assert "'vendi:clap@airs' does not compose" in refused("--rewards", "vendi:clap, vendi:clap@airs", site=parts)
