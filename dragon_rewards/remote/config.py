"""The file of the servers that were added: which encoders each of them has, and where its token is found."""

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
    """The facts that a server states about an encoder.

    Attributes:
        name: the name under which the server offers it.
        modalities: the media that it embeds.
        dim: the number of values in a frame.
        sample_rate: the rate in Hz of the mono audio that it takes.
        licence: the licence of its weights.
        summary: a few words on what it is good for.
        identity: the fingerprint of its weights and preprocessing.
        package: the package of the plugin that brought it.
        version: the version of that package.
    """

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
    """The encoders that a server offers, and the limits that it sets.

    Attributes:
        limit: the most bytes of a body.
        encoders: the facts on each encoder.
        token_limits: for each text encoder that reads only the beginning of a text, by name, how many tokens it reads.
    """

    limit: Annotated[int, Meta(ge=1, le=2**40)]
    encoders: tuple[Facts, ...]
    token_limits: dict[str, Annotated[int, Meta(ge=1)]] = {}


@dataclass(frozen=True)
class Remote:
    """A server that was added with `dragon remote add`.

    Attributes:
        url: `http://host:port`, or `https`.
        token: where its token is: `file:PATH` or `env:NAME`. The token itself is not stored.
        prefix: what the names of its encoders begin with on this machine.
        encoders: the facts on the encoders that it offered when it was added.
    """

    url: str
    token: str
    prefix: str
    encoders: tuple[Facts, ...]


def check_url(url: str) -> str:
    """Return a server's URL without a trailing slash, and refuse a malformed one.

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
    """Return the token that `file:PATH` or `env:NAME` refers to.

    Raises:
        ConfigError: there is no token, or it is not one word of ASCII.
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
    """Return the path of the file of servers.

    It is `$DRAGON_REMOTES`, or by default `dragon-rewards/remotes.json` in the user's configuration folder.
    """
    own = os.environ.get(VARIABLE)
    if own:
        return Path(own)
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "dragon-rewards" / "remotes.json"


def load_remotes() -> list[Remote]:
    """Return all servers that were added; none if the file does not exist.

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
    """Replace the file of servers, which only its owner may read; raises as `files.replacing`."""
    content = json.dumps([asdict(remote) for remote in remotes], indent=2, ensure_ascii=False)
    write_bytes(remotes_path(), content.encode(), PRIVATE)


@contextmanager
def changing_remotes() -> Iterator[None]:
    """Keep other processes from changing the file during the block, in which it is read, changed and written again.

    Raises:
        ConfigError: another process has held the lock for a minute.
        OSError: the folder of the file cannot be written.
    """
    path = remotes_path()
    with locked(path.parent, f".{path.name}.lock", PATIENCE):
        yield


def check_facts(encoders: Sequence[Facts]) -> None:
    """Refuse facts about encoders with a malformed name, or with a text that could control a terminal.

    Raises:
        DragonError: there is such a name or text; the message shows it.
    """
    for facts in encoders:
        check_name(facts.name)
        check_printable(facts.licence, facts.summary, facts.identity, facts.package, facts.version)


def check_printable(*texts: str) -> None:
    """Refuse texts with control characters, which a terminal would obey.

    Raises:
        DragonError: a text has a control character.
    """
    for text in texts:
        if not text.isprintable():
            raise DragonError(f"{text!r:.80} is not shown")
