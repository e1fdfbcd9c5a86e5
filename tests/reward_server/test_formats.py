"""Requests as other trainers' clients write them, and the clients of the page, against a real server.

Formats were read in the sources, and are written here in few words of our own: of X-GenGroup/Flow-Factory at a0b2bc5
src/flow_factory/rewards/my_reward_remote.py (`_build_payload`, `RemoteRewardClient`), and of verl-project/verl-omni at
a1139ba verl_omni/utils/reward_score/http_scorer_client.py.
"""

from __future__ import annotations

import base64
import importlib
import io
import pickle
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.readme import ROOT, blocks
from support.serving import Server
from support.sounds import tone
from support.trainers import Sample, call_as_flow_factory, flow_factory

from dragon_rewards.media.clips import Clips
from dragon_rewards.ranking import credits_of
from dragon_rewards.rewards import compose
from reward_server.conftest import FAD, PIXELS, VENDI, ask, sound

if TYPE_CHECKING:
    from pathlib import Path

requests = pytest.importorskip("requests")  # what Flow-Factory's client sends with
RATE = 16_000
IMAGES = [Image.fromarray(np.full((5, 4, 3), shade, dtype=np.uint8)) for shade in (10, 200)]


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, format=form)
    return file.getvalue()


def payload(prompt: list[str], image: list[Image.Image] | None = None, **more: Any) -> dict[str, Any]:
    images = [base64.b64encode(encoded(each)).decode() for each in image] if image else None
    nothing = {"video": None, "condition_images": None, "condition_videos": None}
    return {"prompt": prompt, "image": images, **nothing, **more}


def with_token(server: Server, reward: str) -> str:
    return f"http://dragon:{server.token}@127.0.0.1:{server.port}/rewards/{reward}"


def computed(server: Server, reward: str, body: dict[str, Any]) -> dict[str, Any]:
    """As `RemoteRewardClient.compute` has it: statuses of refusal raise, and the reply says "error" or "rewards"."""
    session, url = requests.Session(), with_token(server, reward)
    assert session.get(f"{url}/health", timeout=5.0).ok
    reply = session.post(f"{url}/compute", json=body, timeout=60.0)
    reply.raise_for_status()
    found: dict[str, Any] = reply.json()
    return found


def test_flow_factory_scores_images_with_its_own_client(server: Server) -> None:
    found = computed(server, PIXELS, payload(["dark", "bright"], IMAGES))
    assert found == {"rewards": pytest.approx([-10 / 255, -200 / 255], rel=1e-6)}


def test_flow_factory_is_told_what_was_wrong_where_its_client_reads_it(server: Server) -> None:
    video = [[base64.b64encode(encoded(IMAGES[0])).decode()]]
    assert computed(server, PIXELS, payload(["a"], video=video)) == {
        "error": "no reward here reads 'video': send 'audio' or 'image' alone"
    }
    assert "judges audio, and 'image'" in computed(server, VENDI, payload(["a", "b", "c"], IMAGES[:1] * 3))["error"]
    two = payload(["a", "b"], audio=[sound(1), sound(2)])
    assert "what one of them adds takes at least 3" in computed(server, VENDI, two)["error"]
    with pytest.raises(requests.HTTPError, match="404"):
        computed_without_health(server, "vendi:none", two)


def computed_without_health(server: Server, reward: str, body: dict[str, Any]) -> None:
    requests.post(f"{with_token(server, reward)}/compute", json=body, timeout=60.0).raise_for_status()


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Path:
    """The files of the page, which can be imported where Flow-Factory is."""
    page = (ROOT / "docs" / "how-to" / "reward-server.md").read_text(encoding="utf-8")
    files = [block for block in blocks(page) if block.file]
    assert len(files) == 3
    for block in files:
        block.follow(tmp_path)
        monkeypatch.delitem(sys.modules, str(block.file)[:-3], raising=False)
    for name, module in flow_factory().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DRAGON_TOKEN", server.token)
    return tmp_path


@pytest.mark.usefixtures("clients")
def test_the_client_of_the_page(server: Server) -> None:
    scores = importlib.import_module("dragon_client").scores
    url = f"http://127.0.0.1:{server.port}/rewards/{FAD}"
    files = [base64.b64decode(sound(seed)) for seed in range(2)]
    audio = [torch.from_numpy(tone(1, RATE, seed)[:, 0]) for seed in range(2)]
    assert scores(url, files) == pytest.approx(compose(FAD).score(audio, RATE).tolist(), rel=1e-5)
    with pytest.raises(ValueError, match="'audio' is an empty group"):
        scores(url, [])


@pytest.mark.usefixtures("clients")
def test_the_reward_model_for_flow_factory(server: Server) -> None:
    waveforms = [torch.from_numpy(tone(1, RATE, seed, channels=2).T.copy()) for seed in range(8)]
    samples = [Sample("a jig", waveform, RATE) for waveform in waveforms]
    url = with_token(server, VENDI)
    found = call_as_flow_factory("dragon_audio.DragonAudio", samples, group=4, server_url=url)
    groups = [Clips(waveforms[start : start + 4], RATE) for start in (0, 4)]
    alone = [value for group in groups for value in credits_of(compose(VENDI), group).tolist()]
    assert found == pytest.approx(alone, abs=1e-5)
    with pytest.raises(ValueError, match="takes at least 3, and there are 2; add clips"):
        call_as_flow_factory("dragon_audio.DragonAudio", samples, group=2, server_url=url)


@pytest.mark.usefixtures("clients")
@pytest.mark.parametrize("shape", [(1, 2, -1), (2, -1)])
def test_the_reward_function_for_verl_omni(server: Server, shape: tuple[int, ...]) -> None:
    audio = torch.from_numpy(tone(1, RATE, 5, channels=2).T.copy())
    score = importlib.import_module("dragon_reward").compute_score(
        data_source="prompts",
        solution_image=torch.zeros(3, 2, 2, dtype=torch.uint8),
        ground_truth="a jig",
        extra_info={"audio": audio.reshape(shape), "audio_sample_rate": torch.tensor(RATE), "num_turns": None},
        server_url=f"http://127.0.0.1:{server.port}/rewards/{FAD}",
        model_name="",
    )
    assert score == {"score": pytest.approx(float(compose(FAD).score([audio], RATE)), rel=1e-5)}


def test_pickles_are_not_read_and_verl_omni_shows_why(server: Server) -> None:
    """Its client fails at once on a status of 4xx, and shows a reply that it cannot unpickle as the text that it is."""
    body = pickle.dumps({"images": [encoded(IMAGES[0], "JPEG")], "prompts": ["a jig"], "metadata": {}})
    for kind in ("application/octet-stream", ""):
        status, found, _ = ask(server, f"/rewards/{PIXELS}", body, **{"Content-Type": kind})
        assert (status, "a pickle, which can run code, is never read" in found["detail"]) == (415, True)
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(b'{"detail": "..."}')  # noqa: S301  what its client does with the reply
    status, found, _ = ask(server, f"/rewards/{PIXELS}", body)
    assert (status, found["detail"].startswith("the body cannot be read")) == (400, True)


def test_the_fields_of_verl_omni_are_taken_as_json(server: Server) -> None:
    files = [base64.b64encode(encoded(image, "JPEG")).decode() for image in IMAGES]
    status, found, _ = ask(server, f"/rewards/{PIXELS}", {"images": files, "prompts": ["a", "b"], "metadata": {}})
    assert (status, found["scores"]) == (200, pytest.approx([-10 / 255, -200 / 255], rel=1e-2))
