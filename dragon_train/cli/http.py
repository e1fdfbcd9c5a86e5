"""The socket and the server of verbs that serve HTTP; the socket is checked before the long work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.errors import ConfigError

if TYPE_CHECKING:
    from socket import socket

    from fastapi import FastAPI


def bound(host: str, port: int, *, guarded: bool) -> socket:
    """Bind a socket, which does not listen yet, so that nobody connects while encoders are built.

    Args:
        host: name or address of this machine.
        port: 0 takes a free one.
        guarded: whether clients must show a token; without one, only this machine may reach the server.

    Raises:
        ConfigError: the address is not of this machine, is taken, or needs a token.
    """
    from ipaddress import ip_address
    from socket import SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, getaddrinfo, socket

    try:
        family, kind, protocol, _, place = getaddrinfo(host, port, type=SOCK_STREAM)[0]
        if not guarded and not ip_address(place[0]).is_loopback:
            raise ConfigError(f"'{host}' is reached from other machines: give the token that guards it, --token-file")
        listener = socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # UnicodeError: of a name that DNS cannot have
        raise ConfigError(f"'{host}' is no address of this machine ({error}); correct --host") from error
    listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    try:
        listener.bind(place)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}, port {port} ({error}); give another --host or --port") from error
    return listener


def address(listener: socket) -> str:
    """Return the address of a bound socket as clients name it, host:port."""
    from ipaddress import ip_address
    from socket import gethostname

    host, port = listener.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = gethostname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def run(application: FastAPI, listener: socket) -> None:
    """Serve an application on a listening socket until interrupted."""
    import uvicorn

    from dragon_rewards.remote.http import Impatient

    settings = uvicorn.Config(application, http=Impatient, ws="none", log_level="warning", lifespan="off")
    uvicorn.Server(settings).run(sockets=[listener])
