"""The verb `dragon serve`: offer encoders of this environment to others."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003  typer evaluates the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from dragon_rewards.errors import DragonError
from dragon_rewards.registry import load_registry
from dragon_rewards.weights import require_weights
from dragon_train.cli.completion import encoders as all_encoders
from dragon_train.cli.device import chosen_device
from dragon_train.cli.http import address, bound, run
from dragon_train.cli.options import Device, Port

if TYPE_CHECKING:
    import torch
    from fastapi import FastAPI

MEGABYTE = 2**20


def serve(
    encoders: Annotated[
        list[str], typer.Option(help="Encoder to serve; may be given several times.", autocompletion=all_encoders)
    ],
    host: Annotated[str, typer.Option(help="Address to listen on; one that others reach needs --token-file.")] = (
        "127.0.0.1"
    ),
    port: Port = 8765,
    limit_mb: Annotated[int, typer.Option(min=1, help="Most megabytes of a request.")] = 256,
    device: Device = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File of the token that clients must show; default: a new one, printed.")
    ] = None,
) -> None:
    """Serve encoders to other environments and machines, until interrupted."""
    registry = load_registry()
    for name in encoders:
        require_weights(f"encoder '{name}'", registry.encoder(name).weights)
    where = chosen_device(device)
    with bound(host, port, guarded=token_file is not None) as listener:
        token = _token(token_file)
        application = _application(encoders, token, limit_mb, where)
        listener.listen()
        _announce(encoders, f"http://{address(listener)}", token, token_file)
        run(application, listener)


def _token(file: Path | None) -> str:
    from secrets import token_urlsafe

    from dragon_rewards.remote.config import read_token

    return token_urlsafe() if file is None else read_token(f"file:{file}")


def _application(encoders: list[str], token: str, limit_mb: int, device: torch.device) -> FastAPI:
    try:
        from dragon_rewards.remote.server import build_app
    except ModuleNotFoundError as error:
        raise DragonError(f"`dragon serve` needs {error.name}: pip install 'dragon-rewards[serve]'") from error
    return build_app(load_registry(), encoders, token, limit_mb * MEGABYTE, device)


def _announce(encoders: list[str], url: str, token: str, file: Path | None) -> None:
    """Say on stderr what clients need; a token that was made here is shown this once."""
    print(f"serving {', '.join(encoders)}; on the client:", file=sys.stderr)
    if file is None:
        print(f"  export DRAGON_TOKEN={token}", file=sys.stderr)
    where = "--token-env DRAGON_TOKEN" if file is None else f"--token-file {file}"
    print(f"  dragon remote add {url} {where}", file=sys.stderr, flush=True)
