"""The verb `dragon serve`: offer encoders of this environment to others, and scores of rewards to other trainers."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003  typer evaluates the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.registry import load_registry
from dragon_rewards.rewards import compose
from dragon_rewards.weights import require_weights
from dragon_train.cli.completion import encoders as all_encoders
from dragon_train.cli.completion import rewards as all_rewards
from dragon_train.cli.device import chosen_device
from dragon_train.cli.http import address, bound, run
from dragon_train.cli.options import Device, Port

if TYPE_CHECKING:
    import torch
    from fastapi import FastAPI

    from dragon_rewards.rewards import Reward

MEGABYTE = 2**20


def serve(
    encoders: Annotated[
        list[str] | None,
        typer.Option(help="Encoder to serve; may be given several times.", autocompletion=all_encoders),
    ] = None,
    rewards: Annotated[
        list[str] | None,
        typer.Option(help="Rewards to score by for other trainers, NAME,NAME.", autocompletion=all_rewards),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; one that others reach needs --token-file.")] = (
        "127.0.0.1"
    ),
    port: Port = 8765,
    limit_mb: Annotated[int, typer.Option(min=1, help="Most megabytes of a request.")] = 256,
    queue: Annotated[
        int, typer.Option(min=1, help="Most requests for scores held at once; others are told to ask again (503).")
    ] = 64,
    device: Device = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File of the token that clients must show; default: a new one, printed.")
    ] = None,
) -> None:
    """Serve encoders to other environments, and scores of rewards to other trainers, until interrupted."""
    offered, judges = encoders or [], _composed(rewards or [])
    if not offered and not judges:
        raise ConfigError("there is nothing to serve: give --encoders or --rewards")
    for name in offered:
        require_weights(f"encoder '{name}'", load_registry().encoder(name).weights)
    where = chosen_device(device)
    with bound(host, port, guarded=token_file is not None) as listener:
        token = _token(token_file)
        application = _application(offered, judges, token, limit_mb, queue, where)
        listener.listen()
        _announce(offered, judges, f"http://{address(listener)}", token, token_file)
        run(application, listener)


def _composed(lists: list[str]) -> list[Reward]:
    """Compose the rewards of comma-separated lists of names, each once, and refuse those without their weights."""
    names = [name.strip() for names in lists for name in names.split(",")]
    rewards = [compose(name) for name in dict.fromkeys(names)]
    for reward in rewards:
        reward.require_weights()
    return rewards


def _token(file: Path | None) -> str:
    from secrets import token_urlsafe

    from dragon_rewards.remote.config import read_token

    return token_urlsafe() if file is None else read_token(f"file:{file}")


def _application(
    encoders: list[str], rewards: list[Reward], token: str, limit_mb: int, queue: int, device: torch.device
) -> FastAPI:
    try:
        from dragon_rewards.reward_server.app import build_app
    except ModuleNotFoundError as error:
        raise DragonError(f"`dragon serve` needs {error.name}: pip install 'dragon-rewards[serve]'") from error
    return build_app(load_registry(), encoders, rewards, token, limit_mb * MEGABYTE, queue, device)


def _announce(encoders: list[str], rewards: list[Reward], url: str, token: str, file: Path | None) -> None:
    """Say on stderr what clients need; a token that was made here is shown this once."""
    served = ", ".join([*encoders, *(reward.name for reward in rewards)])
    print(f"serving {served}; on the client:", file=sys.stderr)
    if file is None:
        print(f"  export DRAGON_TOKEN={token}", file=sys.stderr)
    for reward in rewards:
        print(f"  {url}/rewards/{reward.name}", file=sys.stderr)
    if encoders:
        where = "--token-env DRAGON_TOKEN" if file is None else f"--token-file {file}"
        print(f"  dragon remote add {url} {where}", file=sys.stderr)
    sys.stderr.flush()
