"""A server that the tests share, servers of their own, and a file of remote encoders for each test."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support import cli
from support.parts import Site
from support.serving import PLUGIN, Server, serve

from dragon_rewards.registry import load_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.cli import Dragon
    from typer.testing import Result


@pytest.fixture(scope="session")
def encoders_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the encoders of `PLUGIN` are installed: seen by servers, not by the tests."""
    folder = tmp_path_factory.mktemp("site")
    Site(folder).install("dragon-reward-odd", PLUGIN)
    return folder


@pytest.fixture(scope="session")
def server(encoders_site: Path) -> Iterator[Server]:
    """The embedded encoders `clap` and `chroma`, and those of the plugin; requests of at most 1 MiB."""
    names = ("clap", "chroma", "plain", "slow", "flaky", "broken")
    options = [word for name in names for word in ("--encoders", name)]
    started = serve(*options, "--limit-mb", "1", site=encoders_site)
    yield started
    started.stop()


@pytest.fixture
def start(encoders_site: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers of `plain` and `slow`, all with one token, that end with the test."""
    started: list[Server] = []
    file = tmp_path / "token"
    file.write_text("one-token\n", encoding="utf-8")

    def start(port: int = 0, **environment: str) -> Server:
        options = ("--encoders", "plain", "--encoders", "slow", "--token-file", str(file))
        server = serve(*options, site=encoders_site, port=port, **environment)
        started.append(replace(server, token="one-token"))  # noqa: S106
        return started[-1]

    yield start
    for server in started:
        if server.process.returncode is None:
            server.stop()


@pytest.fixture(autouse=True)
def remotes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of remote encoders, absent at first; what is registered from it is forgotten after the test."""
    path = tmp_path / "remotes.json"
    monkeypatch.setenv("DRAGON_REMOTES", str(path))
    load_registry.cache_clear()
    yield path
    load_registry.cache_clear()


@pytest.fixture
def dragon() -> Dragon:
    """Runs the command line as a new process would, without one."""

    def run(*arguments: str) -> Result:
        load_registry.cache_clear()  # a new process would load it anew
        result = cli.dragon(*arguments)
        load_registry.cache_clear()
        return result

    return run


@pytest.fixture
def add(dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Adds a server as its own message says, under the prefix `far-` where no options say otherwise."""

    def add(server: Server, *options: str) -> None:
        monkeypatch.setenv("DRAGON_TOKEN", server.token)
        result = dragon("remote", "add", server.url, "--token-env", "DRAGON_TOKEN", *(options or ("--prefix", "far-")))
        assert result.exit_code == 0, result.stderr

    return add
