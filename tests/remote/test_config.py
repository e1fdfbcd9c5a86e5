"""The file of remote encoders: what `dragon remote` writes and refuses, and what is registered from it offline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dragon_rewards.plugins import Stage
from dragon_rewards.registry import load_registry
from dragon_rewards.remote.config import remotes_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.cli import Dragon
    from support.serving import Server

FACTS = {
    "name": "mert",
    "modalities": ["audio"],
    "dim": 768,
    "sample_rate": 24_000,
    "licence": "MIT",
    "summary": "music",
    "identity": "mert-1",
    "package": "dragon-reward-mert",
    "version": "1.0",
}
REMOTE = {"url": "http://127.0.0.1:9", "token": "env:NONE", "prefix": "", "encoders": [FACTS]}
MALFORMED: dict[str, Any] = {
    "no list": {"remotes": []},
    "a missing key": [{**REMOTE, "encoders": [{key: FACTS[key] for key in FACTS if key != "identity"}]}],
    "an unknown key": [{**REMOTE, "port": 1}],
    "an ill-typed value": [{**REMOTE, "encoders": [{**FACTS, "dim": "768"}]}],
    "a truth for a number": [{**REMOTE, "encoders": [{**FACTS, "dim": True}]}],
    "no dimensions": [{**REMOTE, "encoders": [{**FACTS, "dim": 0}]}],
    "an unknown modality": [{**REMOTE, "encoders": [{**FACTS, "modalities": ["video"]}]}],
    "a name that leaves its path": [{**REMOTE, "encoders": [{**FACTS, "name": "../encoders"}]}],
    "a terminal's control characters": [{**REMOTE, "encoders": [{**FACTS, "summary": "\x1b[2J"}]}],
    "another kind of URL": [{**REMOTE, "url": "file:///etc/passwd"}],
}
LIGHT = """
import sys
from dragon_train.cli import main
try:
    main()
finally:
    heavy = {"torch", "numpy", "safetensors", "http.client", "httpx", "fastapi", "uvicorn", "ssl", "asyncio"}
    assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def listed(dragon: Dragon) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(dragon("list", "encoders", "--json").stdout)}


def test_an_added_server_is_listed_and_its_token_is_not_kept(
    server: Server, add: Callable[..., None], dragon: Dragon, remotes: Path
) -> None:
    add(server)
    row = listed(dragon)["far-clap"]
    assert (row["modalities"], row["dim"], row["sample_rate"]) == (["audio", "text"], 128, 16_000)
    assert row["summary"] == f"embedded two-tower audio-text encoder, at {server.url}"
    assert remotes.stat().st_mode & 0o777 == 0o600
    assert server.token not in remotes.read_text(encoding="utf-8")
    assert {path.name for path in remotes.parent.glob("*remotes*")} == {remotes.name, f".{remotes.name}.lock"}
    shown = json.loads(dragon("remote", "list", "--json").stdout)
    assert {"encoder": "far-plain", "url": server.url, "identity": "plain-1"}.items() <= shown[2].items()
    assert (shown[2]["package"], shown[2]["token"]) == ("dragon-reward-odd 1.2", "env:DRAGON_TOKEN")


@pytest.mark.slow
def test_adding_again_replaces_and_removing_forgets(
    start: Callable[..., Server], add: Callable[..., None], dragon: Dragon
) -> None:
    server = start()
    add(server, "--prefix", "near-")
    add(server, "--prefix", "near-")
    assert {"near-plain", "near-slow"} <= set(listed(dragon))
    add(server)
    assert "near-plain" not in listed(dragon)
    assert dragon("remote", "remove", f"{server.url}/").exit_code == 0
    assert "far-plain" not in listed(dragon)
    again = dragon("remote", "remove", server.url)
    assert (again.exit_code, again.stderr) == (
        2,
        f"dragon: no server {server.url} was added; those that were: none\n",
    )


def test_a_token_file_is_kept_by_its_absolute_path(
    server: Server, dragon: Dragon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("token").write_text(f"{server.token}\n", encoding="utf-8")
    assert dragon("remote", "add", server.url, "--token-file", "token", "--prefix", "far-").exit_code == 0
    monkeypatch.chdir("/")
    assert load_registry().build_encoder("far-plain").identity == "plain-1"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prefix", "reason"),
    [
        ("", "'clap' is taken by dragon_rewards.builtin (dragon-rewards "),
        ("far-", "'far-plain' is taken by dragon_rewards.remote.plugin (dragon-rewards "),
        ("Far-", "'Far-clap' is no name"),
    ],
)
def test_names_that_are_taken_are_refused_with_the_remedy(
    server: Server, start: Callable[..., Server], add: Callable[..., None], dragon: Dragon, prefix: str, reason: str
) -> None:
    add(start())
    before = listed(dragon)
    os.environ["DRAGON_TOKEN"] = server.token  # `add` restores it
    result = dragon("remote", "add", server.url, "--token-env", "DRAGON_TOKEN", "--prefix", prefix)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert "is no name" in reason or "give another --prefix" in result.stderr
    assert listed(dragon) == before


@pytest.mark.parametrize("options", [(), ("--token-file", "x", "--token-env", "Y")])
def test_one_place_of_the_token_is_needed(dragon: Dragon, options: tuple[str, ...]) -> None:
    result = dragon("remote", "add", "http://127.0.0.1:9", *options)
    assert (result.exit_code, "give either --token-file or --token-env" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:9", "ftp://a", "http://", "http://a:b", "http://a:0", "http://u:p@a", "http://a/b", "http://a?b"]
)
def test_what_is_no_url_of_a_server_is_refused(dragon: Dragon, url: str) -> None:
    result = dragon("remote", "add", url, "--token-env", "X")
    assert (result.exit_code, "is no URL of a server" in result.stderr) == (2, True)


def test_adding_tries_once(
    start: Callable[..., Server], dragon: Dragon, remotes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    server.stop(signal.SIGKILL)
    monkeypatch.setenv("DRAGON_TOKEN", "one-token")
    result = dragon("remote", "add", server.url, "--token-env", "DRAGON_TOKEN")
    assert result.exit_code == 2
    assert f"the server {server.url}: 1 tries in 0 s failed, the last with ConnectionRefusedError" in result.stderr
    assert not remotes.exists()


def test_lists_are_offline_and_light(remotes: Path) -> None:
    remotes.write_text(json.dumps([REMOTE]), encoding="utf-8")
    for arguments in (["list", "encoders"], ["list", "rewards"], ["remote", "list"], ["plugins"]):
        command = [sys.executable, "-c", LIGHT, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert arguments == ["plugins"] or "mert" in done.stdout


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_a_failure_of_its_own_plugin(remotes: Path, dragon: Dragon, case: str) -> None:
    remotes.write_text(json.dumps(MALFORMED[case]), encoding="utf-8")
    (failure,) = load_registry().failures
    assert (failure.plugin, failure.stage) == ("dragon_rewards.remote.plugin", Stage.REGISTRATION)
    assert f"{remotes} is no list of remote encoders" in failure.reason
    assert "clap" in load_registry().encoders
    result = dragon("remote", "list")
    assert (result.exit_code, str(remotes) in result.stderr) == (2, True)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"1"])
def test_a_file_that_is_no_json_is_a_failure_too(remotes: Path, content: bytes) -> None:
    remotes.write_bytes(content)
    assert [failure.plugin for failure in load_registry().failures] == ["dragon_rewards.remote.plugin"]


def test_what_is_installed_here_goes_before_what_is_served(remotes: Path) -> None:
    clap = {**REMOTE, "encoders": [{**FACTS, "name": "clap"}, FACTS]}
    remotes.write_text(json.dumps([clap, REMOTE]), encoding="utf-8")
    registry = load_registry()
    assert registry.failures == ()
    assert (registry.encoder("clap").dim, registry.encoder("mert").dim) == (128, 768)
    assert registry.owners["register_encoders", "mert"].name == "dragon_rewards.remote.plugin"


@pytest.mark.parametrize("prefix", ["Far-", "far:", " "])
def test_a_prefix_that_makes_no_name_is_a_failure(remotes: Path, prefix: str) -> None:
    remotes.write_text(json.dumps([{**REMOTE, "prefix": prefix}]), encoding="utf-8")
    (failure,) = load_registry().failures
    assert failure.plugin == "dragon_rewards.remote.plugin"
    assert f"'{prefix}mert' is no name" in failure.reason


def test_an_environment_may_serve_to_others_of_the_same_user(
    start: Callable[..., Server], add: Callable[..., None], dragon: Dragon
) -> None:
    add(start(), "--prefix", "")
    restarted = start()  # reads the same file, where `plain` is an encoder of the first server
    add(restarted, "--prefix", "far-")
    packages = {row["encoder"]: row["package"] for row in json.loads(dragon("remote", "list", "--json").stdout)}
    assert packages["far-plain"] == "dragon-reward-odd 1.2"


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DRAGON_REMOTES")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert remotes_path() == tmp_path / "dragon-rewards" / "remotes.json"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert remotes_path() == tmp_path / ".config" / "dragon-rewards" / "remotes.json"
