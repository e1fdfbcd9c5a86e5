"""Servers and strangers, over real sockets: what is too large, never ends, or is no number or character."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

import pytest
import torch
import uvicorn
from fastapi import FastAPI, Request
from safetensors.torch import save

from dragon_rewards.errors import EncoderError
from dragon_rewards.remote import http as serving
from dragon_rewards.remote.client import offered
from remote.test_server import GOOD, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.serving import Server

PATIENT = 0.6  # seconds


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a server that waits for less long than others, and echoes how much it was sent."""
    monkeypatch.setattr(serving, "PATIENCE", PATIENT)
    app = FastAPI()

    async def count(request: Request) -> int:
        return len(await request.body())

    app.add_api_route("/count", count, methods=["POST"])
    serving.bound(app, 1000, "")
    settings = uvicorn.Config(app, http=serving.Impatient, ws="none", log_level="warning", lifespan="off")
    server = uvicorn.Server(settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield int(listener.getsockname()[1])
        server.should_exit = True
        thread.join()


HEAD = b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
HALF = {
    "nothing": b"",
    "half a line": b"POST /cou",
    "half a head": HEAD,
    "half a body": HEAD + b"\r\nab",
    "half a second request": HEAD + b"\r\nabcde" + HEAD,
}


@pytest.mark.parametrize("case", HALF)
def test_half_sent_requests_end(port: int, case: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        began = time.monotonic()
        if case == "half a second request":
            connection.sendall(HEAD + b"\r\nabcde")
            answered(connection, b"5")
            connection.sendall(HEAD)
        else:
            connection.sendall(HALF[case])
        assert b" 408 " in received(connection)
        assert PATIENT * 0.9 < time.monotonic() - began < 10


def answered(connection: socket.socket, body: bytes) -> None:
    """Read an answer with this body; the connection stays open."""
    taken = b""
    while not taken.endswith(b"\r\n\r\n" + body):
        piece = connection.recv(4096)
        assert piece, taken
        taken += piece


def received(connection: socket.socket) -> bytes:
    """All until the server hangs up."""
    taken = b""
    while piece := connection.recv(4096):
        taken += piece
    return taken


def test_a_request_that_comes_drop_by_drop_ends(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        began = time.monotonic()
        with suppress(OSError):  # reset or broken, whichever comes first
            for byte in HEAD * 20:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - began < 10


def test_slow_clients_that_go_on_sending_are_served(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "SLOWEST", 100)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(HEAD.replace(b": 5", b": 500") + b"\r\n")
        for _ in range(10):
            time.sleep(PATIENT / 5)
            connection.sendall(bytes(50))
        answered(connection, b"500")


def test_an_idle_server_answers_after_all_that(port: int) -> None:
    connections = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(50)]
    for connection in connections:
        connection.sendall(HEAD)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(HEAD + b"\r\nabcde")
        answered(connection, b"5")
    for connection in connections:
        assert b" 408 " in received(connection)
        connection.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_audio_that_is_no_number_is_refused(server: Server, value: float) -> None:
    audio = torch.zeros(1, 100)
    audio[0, 50] = value
    status, content = ask(server, "/encode/audio/plain", save({"audio": audio}))
    assert (status, json.loads(content)["detail"]) == (422, "the audio holds values that are not finite")
    assert ask(server, "/encode/audio/plain", GOOD)[0] == 200


def test_texts_with_surrogates_are_refused(server: Server) -> None:
    status, content = ask(server, "/encode/text/clap", b'["a jig", "\\ud800"]')
    assert status == 422
    assert "surrogate" in json.loads(content)["detail"]


def test_what_a_server_says_does_not_reach_the_terminal_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVIL", "token")
    said = b"\x1b]0;owned\x07" + b"x" * 10_000
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 418 no\r\nContent-Length: %d\r\n\r\n" % len(said) + said)

        thread = Thread(target=answer)
        thread.start()
        with pytest.raises(EncoderError) as refusal:
            offered(f"http://127.0.0.1:{listener.getsockname()[1]}", "env:EVIL")
        thread.join()
    message = str(refusal.value)
    assert "\\x1b]0;owned\\x07" in message
    assert message.replace("\n", "").isprintable()
    assert len(message) < 1000
