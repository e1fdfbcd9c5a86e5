"""A real `dragon serve` in a process of its own, and encoders that behave as the tests need."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DRAGON_SERVE = ["-m", "dragon_train.cli", "serve"]
COMMAND = [sys.executable, *DRAGON_SERVE]
PLUGIN = """
import os
import time

from dragon_rewards import EncoderError, EncoderInfo, Modality, hookimpl


class Plain:
    identity = os.environ.get("PLAIN_IDENTITY", "plain-1")
    at_once = calls = 0

    def encode_audio(self, audio):
        if audio.shape[1] < 10:
            raise EncoderError(f"clips of {audio.shape[1]} samples are too short")
        if audio.shape[1] == 11:
            return audio @ audio  # torch refuses the shapes
        return audio.unsqueeze(-1)


class Slow(Plain):
    def encode_audio(self, audio):  # frames count the encodes that run at the same time
        self.at_once += 1
        time.sleep(0.5)
        frames = 0 * audio.unsqueeze(-1) + self.at_once
        self.at_once -= 1
        return frames


class Flaky(Plain):
    def encode_audio(self, audio):
        self.calls += 1
        if self.calls == 1:
            raise ValueError("the first call fails")
        return super().encode_audio(audio)


class Broken(Plain):
    def encode_audio(self, audio):
        return audio.unsqueeze(-1).repeat(1, 1, 2)


@hookimpl
def register_encoders(register):
    for kind in (Plain, Slow, Flaky, Broken):
        register(EncoderInfo(kind.__name__.lower(), frozenset({Modality.AUDIO}), 1, 8000, "MIT", "a test's", kind))
"""


@dataclass(frozen=True)
class Server:
    """A server that answers, and what its clients need."""

    process: subprocess.Popen[str]
    url: str
    token: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def stop(self, how: signal.Signals = signal.SIGTERM) -> str:
        """End it, and return what it had still to say."""
        self.process.send_signal(how)
        _, said = self.process.communicate(timeout=60)
        return said


def serve(*arguments: str, site: Path, port: int = 0, python: str = sys.executable, **environment: str) -> Server:
    """Start `dragon serve` with the plugins of `site` and wait until it has said what clients need."""
    command = [python, *DRAGON_SERVE, *arguments, "--port", str(port)]
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(site)} | environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said, url = "", None
    while not url and (line := process.stderr.readline()):
        said += line
        url = re.search(r"(?:dragon remote add |^  )(http://[^\s/]+)", line)
    if not url:
        process.communicate()
        raise AssertionError(said)
    token = re.search(r"export DRAGON_TOKEN=(\S+)", said)
    return Server(process, url[1], token[1] if token else "")


def refused(*arguments: str, site: Path) -> str:
    """What `dragon serve` says when it does not start."""
    done = subprocess.run(
        [*COMMAND, *arguments], env=os.environ | {"PYTHONPATH": str(site)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    return done.stderr
