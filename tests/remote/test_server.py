"""What a server refuses: strangers, bodies that are too large or malformed, and to be reached without a token."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save
from support.serving import COMMAND, Server, refused, serve
from torch import Tensor

from dragon_rewards.registry import load_registry
from dragon_rewards.remote.server import Served
from dragon_rewards.reward_server.app import build_app

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 2**20
GOOD = save({"audio": torch.zeros(1, 100)})


def header(values: object, content: bytes = b"") -> bytes:
    text = json.dumps(values).encode()
    return struct.pack("<Q", len(text)) + text + content


def tensor(shape: list[int], dtype: str = "F32", size: int = 0) -> bytes:
    return header({"audio": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}, bytes(size))


MALFORMED = {
    "nothing": b"",
    "a short text": b"abc",
    "garbage": b"\xff" * 5000,
    "a pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    "cut short": GOOD[:-4],
    "a header of a list": header([1]),
    "a negative length": tensor([-1, 2], size=8),
    "more than it holds": tensor([2**62, 2**62], size=8),
    "a length beyond 64 bits": tensor([0, 2**64 - 1]),
    "no clips": tensor([0, 2**62]),
    "no samples": tensor([3, 0]),
    "one dimension": tensor([2], size=8),
    "three dimensions": tensor([1, 1, 2], size=8),
    "half precision": save({"audio": torch.zeros(1, 100, dtype=torch.float16)}),
    "a type without a name in torch": tensor([16], "F4", 8),
    "another name": save({"sound": torch.zeros(1, 100)}),
    "two tensors": save({"audio": torch.zeros(1, 100), "more": torch.zeros(1)}),
    "a thousand tensors": save({str(index): torch.zeros(1) for index in range(1000)}),
}
TEXTS = [b"", b"[", b"[]", b"{}", b'"one"', b"[1]", b'["a", null]', b"\xff\xfe", b"[" * 100_000]


def ask(server: Server, path: str, body: bytes | None = None, token: str | None = None) -> tuple[int, str]:
    """Status and body of the reply."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Authorization": f"Bearer {server.token if token is None else token}"} if token != "" else {}
    connection.request("GET" if body is None else "POST", path, body, headers)
    reply = connection.getresponse()
    content = reply.read().decode(errors="replace")
    connection.close()
    return reply.status, content


def test_the_catalogue_says_what_is_served(server: Server) -> None:
    status, content = ask(server, "/encoders")
    catalogue: Any = json.loads(content)
    assert (status, catalogue["limit"]) == (200, LIMIT)
    clap, _, plain = catalogue["encoders"][:3]
    assert (clap["name"], clap["modalities"], clap["dim"], clap["package"]) == (
        ("clap", ["audio", "text"], 128, "dragon-rewards")
    )
    assert (plain["identity"], plain["sample_rate"], plain["version"]) == ("plain-1", 8000, "1.2")


@pytest.mark.parametrize("path", ["/encoders", "/encode/audio/plain", "/encode/text/clap", "/encode/audio/none"])
@pytest.mark.parametrize("token", ["", "x", "ä"])
def test_nothing_is_answered_without_the_token(server: Server, path: str, token: str) -> None:
    body = None if path == "/encoders" else b"garbage"
    assert ask(server, path, body, token) == (401, '{"detail":"wrong or missing token"}')


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/encode/audio/none", "/encode/text/../plain"])
def test_other_paths_are_not_found(server: Server, path: str) -> None:
    assert ask(server, path, b"x")[0] == 404


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_audio_is_refused(server: Server, case: str) -> None:
    status, content = ask(server, "/encode/audio/plain", MALFORMED[case])
    assert status == 400
    assert "the body" in json.loads(content)["detail"]
    assert ask(server, "/encode/audio/plain", GOOD)[0] == 200


@pytest.mark.parametrize("body", TEXTS, ids=lambda body: repr(body[:12]))
def test_malformed_texts_are_refused(server: Server, body: bytes) -> None:
    status, content = ask(server, "/encode/text/clap", body)
    assert status == 400
    assert "the body" in json.loads(content)["detail"]


def test_texts_for_an_encoder_of_audio_are_refused(server: Server) -> None:
    assert ask(server, "/encode/text/plain", b'["a"]') == (422, """{"detail":"encoder 'plain' embeds no text"}""")


def sent_raw(server: Server, headers: str, content: bytes) -> bytes:
    """The first bytes of the reply to a request that is sent as it is, and is not ended."""
    head = f"POST /encode/audio/plain HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n{headers}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head.encode() + content)
        return connection.recv(4096)


def test_a_body_is_refused_when_it_grows_too_large_not_when_it_ends(server: Server) -> None:
    chunks = b"%x\r\n%b\r\n" % (LIMIT + 1, bytes(LIMIT + 1))
    assert b" 413 " in sent_raw(server, "Transfer-Encoding: chunked", chunks)
    assert b" 413 " in sent_raw(server, f"Content-Length: {2**40}", bytes(LIMIT + 1))


def test_a_body_longer_than_declared_is_cut_and_the_rest_is_no_request(server: Server) -> None:
    assert b" 400 " in sent_raw(server, "Content-Length: 100", bytes(LIMIT))
    assert ask(server, "/encode/audio/plain", GOOD)[0] == 200


def test_a_body_of_the_limit_is_accepted(server: Server) -> None:
    overhead = len(save({"audio": torch.zeros(1, 2**18)})) - LIMIT
    body = save({"audio": torch.zeros(1, (LIMIT - overhead) // 4)})
    assert len(body) == LIMIT
    assert ask(server, "/encode/audio/plain", body)[0] == 200


def test_a_client_that_hangs_up_leaves_the_server_well_and_silent(start: Callable[..., Server]) -> None:
    server = start()
    head = f"POST /encode/audio/plain HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"{head}Content-Length: 1000\r\n\r\nabc".encode())
    assert ask(server, "/encode/audio/plain", GOOD)[0] == 200
    assert server.stop(signal.SIGINT) == ""


def test_an_encoder_that_is_unknown_is_refused_before_anything_is_built(encoders_site: Path) -> None:
    said = refused("--encoders", "clap", "--encoders", "plian", site=encoders_site)
    assert "dragon: unknown encoder 'plian'; did you mean plain" in said


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104
def test_other_machines_are_served_with_a_token_of_their_own_only(encoders_site: Path, host: str) -> None:
    said = refused("--encoders", "plain", "--host", host, site=encoders_site)
    assert f"'{host}' is reached from other machines: give the token that guards it, --token-file" in said


def test_with_a_token_file_other_machines_are_served(encoders_site: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n", encoding="utf-8")
    options = ("--encoders", "plain", "--host", "0.0.0.0", "--token-file", str(tmp_path / "token"))  # noqa: S104
    server = serve(*options, site=encoders_site)
    assert server.url == f"http://{socket.gethostname()}:{server.port}"
    assert ask(server, "/encoders", token="secret")[0] == 200  # noqa: S106
    server.stop()


@pytest.mark.parametrize("content", [None, "", " \n", "two words", "schlüssel"])
def test_a_token_file_without_a_token_is_refused(encoders_site: Path, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    said = refused("--encoders", "plain", "--port", "0", "--token-file", str(file), site=encoders_site)
    assert str(file) in said


def test_a_port_in_use_is_refused(server: Server, encoders_site: Path) -> None:
    said = refused("--encoders", "plain", "--port", str(server.port), site=encoders_site)
    assert f"cannot listen on 127.0.0.1, port {server.port}" in said
    assert "give another --host or --port" in said


def test_an_address_of_another_machine_is_refused(encoders_site: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n", encoding="utf-8")
    options = ("--host", "192.0.2.1", "--token-file", str(tmp_path / "token"))
    assert "cannot listen on 192.0.2.1" in refused("--encoders", "plain", *options, site=encoders_site)


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_a_name_that_no_machine_can_have_is_refused(encoders_site: Path, host: str) -> None:
    said = refused("--encoders", "plain", "--host", host, site=encoders_site)
    assert f"'{host}' is no address of this machine (" in said
    assert "correct --host" in said


def test_an_installation_without_the_server_says_what_to_install() -> None:
    code = "import sys; sys.modules['fastapi'] = None; from dragon_train.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--encoders", "chroma", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "dragon: `dragon serve` needs fastapi: pip install 'dragon-rewards[serve]'\n",
    )


@pytest.mark.parametrize("device", ["cuda:99", "meta", "gpu"])
def test_a_device_that_is_not_here_is_refused(encoders_site: Path, device: str) -> None:
    said = refused("--encoders", "plain", "--port", "0", "--device", device, site=encoders_site)
    assert f"'{device}' is" in said
    assert "choose one of cpu" in said


class Listener:
    """Notes where its audio is."""

    identity = "listener-1"
    heard: torch.device | None = None

    def encode_audio(self, audio: Tensor) -> Tensor:
        self.heard = audio.device
        return torch.zeros(len(audio), 1, 1)


def test_audio_and_modules_go_to_the_device() -> None:
    meta, registry, listener = torch.device("meta"), load_registry(), Listener()  # the one other device of any machine
    owner = registry.owners["register_encoders", "chroma"]
    Served(registry.encoder("chroma"), listener, owner, meta).audio(GOOD)
    assert listener.heard == meta
    build_app(registry, ["clap"], [], "token", LIMIT, 1, meta)
    clap: Any = registry.build_encoder("clap", meta)
    assert {weight.device for weight in clap.parameters()} == {meta}
    original: Any = registry.build_encoder("clap")
    assert {weight.device for weight in original.parameters()} == {torch.device("cpu")}


@pytest.mark.slow
def test_a_token_that_was_made_is_new_each_time_and_not_among_the_arguments(encoders_site: Path) -> None:
    servers = [serve("--encoders", "plain", site=encoders_site) for _ in range(2)]
    assert servers[0].token != servers[1].token
    assert len(servers[0].token) >= 40
    for server in servers:
        assert server.token.encode() not in Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
        server.stop()


def test_it_is_a_command_with_help() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=False)
    assert "--token-file" in done.stdout
