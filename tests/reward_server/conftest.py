"""Servers of rewards, in processes of their own, and what is sent to them."""

from __future__ import annotations

import base64
import io
import json
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from support.parts import Site
from support.serving import Server, serve
from support.sounds import tone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FAD, SCORE, VENDI = "per-song-fad:clap@airs", "clap-score:clap", "vendi:clap"
LEVEL, PIXELS = "level:slow", "level:eye"
PLUGIN = """
import time

import torch

from dragon_rewards import Direction, EncoderInfo, Modality, ReductionInfo, RewardKind, hookimpl


class Slow:
    identity = "slow-1"

    def encode_audio(self, audio):
        time.sleep(0.5)
        return audio.unsqueeze(-1)


class Eye:
    identity = "eye-1"

    def encode_image(self, images):
        return images.flatten(1).unsqueeze(-1)


class Level:
    def __call__(self, clips, reference):
        return torch.stack([frames.abs().mean() for frames in clips.frames])


@hookimpl
def register_encoders(register):
    for kind, modality, rate in ((Slow, Modality.AUDIO, 8000), (Eye, Modality.IMAGE, 0)):
        register(EncoderInfo(kind.__name__.lower(), frozenset({modality}), 1, rate, "MIT", "a test's", kind))


@hookimpl
def register_reductions(register):
    register(ReductionInfo("level", RewardKind.INSTANCE, Direction.LOWER, "a test's", Level))
"""


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `PLUGIN` is installed: seen by servers, not by the tests."""
    folder = tmp_path_factory.mktemp("site")
    Site(folder).install("dragon-reward-level", PLUGIN)
    return folder


@pytest.fixture(scope="session")
def server(parts: Path) -> Iterator[Server]:
    """Rewards of each kind, one of them of images, and an encoder beside them; requests of at most 4 MiB."""
    rewards = ("--rewards", f"{FAD},{VENDI}", "--rewards", f"{SCORE},{PIXELS}")
    started = serve(*rewards, "--encoders", "clap", "--limit-mb", "4", site=parts)
    yield started
    started.stop()


@pytest.fixture
def start(parts: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers that end with the test, if it did not end them."""
    started: list[Server] = []

    def start(*arguments: str) -> Server:
        started.append(serve(*arguments, site=parts))
        return started[-1]

    yield start
    for server in started:
        if server.process.returncode is None:
            server.stop()


def packed(samples: np.ndarray, rate: int = 16_000, form: str = "WAV", subtype: str = "FLOAT") -> str:
    """Audio (samples, channels) as base64 of a file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return base64.b64encode(file.getvalue()).decode()


def sound(seed: int = 0, seconds: float = 1.0, rate: int = 16_000) -> str:
    return packed(tone(seconds, rate, seed), rate)


def ask(server: Server, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
    """Status, content and headers of the reply to a body of bytes or of values that are sent as JSON."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    plain = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
    connection.request("GET" if body is None else "POST", path, content, plain | headers)
    reply = connection.getresponse()
    found = reply.status, json.loads(reply.read()), dict(reply.getheaders())
    connection.close()
    return found
