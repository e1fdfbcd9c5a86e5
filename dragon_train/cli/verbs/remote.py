"""The verbs `dragon remote`: the servers whose encoders are used here."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer evaluates the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from dragon_rewards.errors import ComposeError, ConfigError
from dragon_rewards.names import check_name
from dragon_rewards.registry import load_registry
from dragon_rewards.remote.config import (
    VARIABLE,
    Remote,
    changing_remotes,
    check_url,
    load_remotes,
    remotes_path,
    save_remotes,
)
from dragon_rewards.remote.plugin import descriptors
from dragon_rewards.storage.files import check_file
from dragon_train.cli.options import Json, Wide
from dragon_train.cli.printing import print_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

remote = typer.Typer(no_args_is_help=True, help="Use encoders that `dragon serve` offers elsewhere.")

Url = Annotated[str, typer.Argument(help="URL of the server, as in http://127.0.0.1:8765.")]


@remote.command()
def add(
    url: Url,
    token_file: Annotated[Path | None, typer.Option(help="File that holds the server's token.")] = None,
    token_env: Annotated[str | None, typer.Option(help="Environment variable that holds it.")] = None,
    prefix: Annotated[str, typer.Option(help="What the names of its encoders shall begin with here.")] = "",
) -> None:
    """Register the encoders that a server offers now, in place of what it offered before."""
    from dragon_rewards.remote.client import offered

    url, token = check_url(url), _reference(token_file, token_env)
    load_remotes()
    check_file(remotes_path(), VARIABLE)
    added = Remote(url, token, prefix, tuple(offered(url, token).values()))
    with changing_remotes():
        remotes = load_remotes()
        _check_names(added, [known for known in remotes if known.url == url])
        save_remotes([*(known for known in remotes if known.url != url), added])
    print_rows(_rows([added]), as_json=False)


@remote.command("list")
def list_remotes(*, as_json: Json = False, wide: Wide = False) -> None:
    """List the servers that were added, and their encoders."""
    print_rows(_rows(load_remotes()), as_json=as_json, wide=wide)


@remote.command()
def remove(url: Url) -> None:
    """Forget a server and the encoders that it offers."""
    url = check_url(url)
    with changing_remotes():
        remotes = load_remotes()
        kept = [known for known in remotes if known.url != url]
        if len(kept) == len(remotes):
            names = ", ".join(known.url for known in remotes) or "none"
            raise ConfigError(f"no server {url} was added; those that were: {names}")
        save_remotes(kept)


def _reference(file: Path | None, variable: str | None) -> str:
    if (file is None) == (variable is None):
        raise ConfigError("give either --token-file or --token-env: where the server's token is found, now and later")
    return f"env:{variable}" if file is None else f"file:{file.resolve()}"


def _check_names(added: Remote, replaced: Iterable[Remote]) -> None:
    """Refuse names under which the encoders of this server would not be found."""
    registry = load_registry()
    own = {info.name for known in replaced for info in descriptors(known)}
    for info in descriptors(added):
        check_name(info.name)
        if info.name in registry.encoders and info.name not in own:
            owner = registry.owners["register_encoders", info.name]
            raise ComposeError(
                f"encoder '{info.name}' is taken by {owner}; give another --prefix, as in far-, "
                "or `dragon remote remove` the server that has it"
            )


def _rows(remotes: Iterable[Remote]) -> list[dict[str, object]]:
    return [
        {
            "encoder": info.name,
            "url": known.url,
            "identity": facts.identity,
            "package": f"{facts.package} {facts.version}",
            "token": known.token,
        }
        for known in remotes
        for info, facts in zip(descriptors(known), known.encoders, strict=True)
    ]
