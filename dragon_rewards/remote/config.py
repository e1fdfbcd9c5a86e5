"""The servers that were added, in a file: which encoders each has, and where its token is found."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.files import PRIVATE, write_bytes
from dragon_rewards.locks import PATIENCE, locked
from dragon_rewards.names import check_name
from dragon_rewards.protocols import Modality

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

VARIABLE = "DRAGON_REMOTES"
FACTS = {
    "name": str,
    "modalities": list,
    "dim": int,
    "sample_rate": int,
    "licence": str,
    "summary": str,
    "identity": str,
    "package": str,
    "version": str,
}
REMOTE = {"url": str, "token": str, "prefix": str, "encoders": list}


@dataclass(frozen=True)
class Facts:
    """What a server says of an encoder; `package` and `version` are those of the plugin that brought it."""

    name: str
    modalities: tuple[Modality, ...]
    dim: int
    sample_rate: int
    licence: str
    summary: str
    identity: str
    package: str
    version: str


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
    try:
        return [_remote(values) for values in json.loads(path.read_bytes())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, DragonError) as error:
        raise ConfigError(
            f"{path} is no list of remote encoders: {error}; delete it, and `dragon remote add` the servers again"
        ) from error


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


def parse_facts(values: object) -> Facts:
    """Facts from JSON.

    Raises:
        ValueError: a key is missing, unknown or ill-typed.
        DragonError: the name is malformed.
    """
    record = _record(values, FACTS)
    check_name(record["name"])
    if record["dim"] < 1 or record["sample_rate"] < 1:
        raise ValueError(f"encoder '{record['name']}' has dim {record['dim']} at {record['sample_rate']} Hz")
    return Facts(**{**record, "modalities": tuple(map(Modality, record["modalities"]))})


def _remote(values: object) -> Remote:
    record = _record(values, REMOTE)
    check_url(record["url"])
    return Remote(**{**record, "encoders": tuple(map(parse_facts, record["encoders"]))})


def _record(values: object, types: Mapping[str, type]) -> dict[str, Any]:
    if not isinstance(values, dict) or set(values) != set(types):
        raise ValueError(f"expected an object with exactly the keys {', '.join(types)}")
    for key, kind in types.items():
        # Texts reach a terminal, which would obey control characters.
        if type(values[key]) is not kind or (kind is str and not values[key].isprintable()):
            raise ValueError(f"{key} must be a printable {kind.__name__}, not {values[key]!r}")
    return values
