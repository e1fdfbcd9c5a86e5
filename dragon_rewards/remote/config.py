"""The servers that were added, in a file: which encoders each has, and where its token is found."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.names import check_name
from dragon_rewards.protocols import Modality  # noqa: TC001  a field's type
from dragon_rewards.storage.decoding import read_json
from dragon_rewards.storage.files import PRIVATE, write_bytes
from dragon_rewards.storage.locks import PATIENCE, locked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VARIABLE = "DRAGON_REMOTES"
AGAIN = "delete it, and `dragon remote add` the servers again"
Size = Annotated[int, Meta(ge=1, le=10**6)]


@dataclass(frozen=True)
class Facts:
    """What a server says of an encoder; `package` and `version` are those of the plugin that brought it."""

    name: str
    modalities: tuple[Modality, ...]
    dim: Size
    sample_rate: Size
    licence: str
    summary: str
    identity: str
    package: str
    version: str


class Catalogue(Struct, frozen=True):
    """What a server offers.

    Attributes:
        limit: the most bytes of a body.
        encoders: all of them.
        token_limits: by name, the tokens of a text that those of them read that do not read all.
    """

    limit: Annotated[int, Meta(ge=1, le=2**40)]
    encoders: tuple[Facts, ...]
    token_limits: dict[str, Annotated[int, Meta(ge=1)]] = {}


@dataclass(frozen=True)
class Remote:
    """A server that was added.

    Attributes:
        url: `http://host:port`, or `https`.
        token: where its token is: `file:PATH` or `env:NAME`. The token itself is not kept.
        prefix: what the names of its encoders begin with here.
        encoders: what it offered when it was added.
    """

    url: str
    token: str
    prefix: str
    encoders: tuple[Facts, ...]


def check_url(url: str) -> str:
    """A server's URL without a trailing slash.

    Raises:
        ConfigError: it is not of the form http://host:port.
    """
    try:
        parts = urlsplit(url)
        plain = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        plain = False
    if not plain or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"'{url}' is no URL of a server; write it as in http://127.0.0.1:8765")
    return f"{parts.scheme}://{parts.netloc}"


def read_token(reference: str) -> str:
    """The token that `file:PATH` or `env:NAME` refers to.

    Raises:
        ConfigError: there is none, or it is not one word of ASCII.
    """
    kind, _, place = reference.partition(":")
    try:
        text = os.environ[place] if kind == "env" else Path(place).read_text(encoding="utf-8")
    except (KeyError, OSError, ValueError) as error:
        remedy = f"export {place}=TOKEN" if kind == "env" else "write the server's token to it"
        raise ConfigError(f"no token in {reference} ({type(error).__name__}); {remedy}") from error
    token = text.strip()
    if len(token.split()) != 1 or not token.isascii() or not token.isprintable():
        raise ConfigError(f"{reference} holds no token: one word of ASCII is needed")
    return token


def remotes_path() -> Path:
    """`$DRAGON_REMOTES`, or `dragon-rewards/remotes.json` in the folder of the user's configuration."""
    own = os.environ.get(VARIABLE)
    if own:
        return Path(own)
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "dragon-rewards" / "remotes.json"


def load_remotes() -> list[Remote]:
    """All servers that were added; none where the file is absent.

    Raises:
        ConfigError: the file cannot be read, or is not what `save_remotes` writes.
    """
    path = remotes_path()
    if not path.exists():
        return []
    try:
        remotes = read_json(path, list[Remote], "`dragon remote add` writes it")
        for remote in remotes:
            check_url(remote.url)
            check_printable(remote.token, remote.prefix)
            check_facts(remote.encoders)
    except DragonError as error:
        raise ConfigError(f"{path} is no list of remote encoders: {error}; {AGAIN}") from error
    return remotes


def save_remotes(remotes: Sequence[Remote]) -> None:
    """Replace the file, which only its owner may read."""
    content = json.dumps([asdict(remote) for remote in remotes], indent=2, ensure_ascii=False)
    write_bytes(remotes_path(), content.encode(), PRIVATE)


@contextmanager
def changing_remotes() -> Iterator[None]:
    """Inside, no other process changes the servers that were added: for what is read, changed and written again.

    Raises:
        ConfigError: another process is at it for a minute.
        OSError: the folder of the file cannot be written.
    """
    path = remotes_path()
    with locked(path.parent, f".{path.name}.lock", PATIENCE):
        yield


def check_facts(encoders: Sequence[Facts]) -> None:
    """Refuse what a server says of encoders where a name is malformed, or a text would command a terminal.

    Raises:
        DragonError: names the value.
    """
    for facts in encoders:
        check_name(facts.name)
        check_printable(facts.licence, facts.summary, facts.identity, facts.package, facts.version)


def check_printable(*texts: str) -> None:
    """Raises DragonError where a text holds control characters, which a terminal would obey."""
    for text in texts:
        if not text.isprintable():
            raise DragonError(f"{text!r:.80} is not shown")
