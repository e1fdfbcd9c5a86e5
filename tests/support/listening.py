"""Folders of short tones, a real server in a process of its own, and raters who use its HTTP interface."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import numpy as np
import soundfile
import torch
from typer.testing import CliRunner

from dragon_rewards.media.audio import write_audio
from dragon_train.cli.app import app

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path

RATE = 16_000
SECONDS = 0.4
ENOUGH = 2 * SECONDS  # s to hear both
LISTEN_SERVE = [sys.executable, "-m", "dragon_train.cli", "listen", "serve"]
PROMPTS = ("a <b>bold</b> march", "a jig & a reel", "a slow air", "a hymn")


def tone(hertz: float, amplitude: float, rate: int = RATE, seconds: float = SECONDS) -> torch.Tensor:
    """A sine (samples,)."""
    times = torch.arange(round(seconds * rate)) / rate
    return amplitude * torch.sin(2 * torch.pi * hertz * times)


def folder(path: Path, hertz: float, amplitude: float, pairs: int = 4) -> Path:
    """Clips of rising pitch with prompts.csv."""
    path.mkdir()
    lines = ["path,prompt"]
    for index in range(pairs):
        write_audio(path / f"clip-{index}.wav", tone(hertz + 40 * index, amplitude), RATE)
        lines.append(f"clip-{index}.wav,{PROMPTS[index]}")
    (path / "prompts.csv").write_text("\n".join(lines), encoding="utf-8")
    return path


def side_of(sound: bytes) -> str:
    """The folder that a sound is from, by its pitch: those of A lie below 600 Hz, those of B above."""
    samples, rate = soundfile.read(io.BytesIO(sound))
    return "a" if np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples) < 600 else "b"


@dataclass(frozen=True)
class Server:
    """`dragon listen serve` that answers."""

    process: subprocess.Popen[str]
    url: str
    db: Path

    def kill(self) -> None:
        """End it at once, as a crash or the lack of memory would."""
        self.process.kill()
        if self.process.returncode is None:
            self.process.communicate()

    def ask(self, path: str, body: Any = None) -> Any:
        """The JSON that it answers; a body is posted."""
        request = Request(f"{self.url}/{path}", headers={"Content-Type": "application/json"})  # noqa: S310  local
        data = None if body is None else json.dumps(body).encode()
        with urlopen(request, data, timeout=30) as answer:  # noqa: S310  local
            return json.load(answer)

    def get(self, path: str) -> tuple[bytes, Message]:
        """What it answers, and the headers."""
        with urlopen(f"{self.url}/{path}", timeout=30) as answer:  # noqa: S310  local
            return answer.read(), answer.headers

    def enter(self, name: str) -> str:
        """The path of a rater."""
        return f"raters/{self.ask('raters', {'name': name})['token']}"

    def encode_files(self, rater: str, trial: int) -> list[bytes]:
        """The left and the right sound of a trial, and the time that it takes to hear both."""
        sounds = [self.get(f"{rater}/{trial}/{side}")[0] for side in ("left", "right")]
        time.sleep(ENOUGH)
        return sounds


def listen(*arguments: object) -> str:
    """What a verb of `dragon listen` prints, run in this process."""
    result = CliRunner().invoke(app, ["listen", *map(str, arguments)])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def serve(a: Path, b: Path, db: Path, *options: str, port: int = 0) -> Server:
    """Start one, and wait until it says where it listens."""
    command = [*LISTEN_SERVE, str(a), str(b), "--db", str(db), "--port", str(port), *options]
    process = subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.readline()
    found = re.search(r"at (http://\S+)", said)
    if not found:
        raise AssertionError(said + process.communicate()[1])
    return Server(process, found[1], db)
