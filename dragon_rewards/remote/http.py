"""Protection of every server of this project: against bodies that are too large, requests that never end, and bad JSON.

`bound` limits an application, which is then served with the protocol `Impatient`. `guarded_app` makes an application
that answers nobody without its token.
"""

from __future__ import annotations

from base64 import b64decode
from contextlib import suppress
from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING, Annotated, Any

import h11
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from dragon_rewards.terminal.printable import printable

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATIENCE = 20.0  # seconds in which a request without a body must arrive
SLOWEST = 2**14  # bytes a second; a slower body counts as half-sent: 256 MB may take 4.6 hours
LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
UNPROCESSABLE, TOO_LARGE = 422, 413


def guarded_app(token: str) -> FastAPI:
    """Return an application without routes that refuses requests without the token, before their body is read.

    Clients show the token as `Authorization: Bearer TOKEN`, or as the password of `Basic`, which clients that know only
    a URL send when it is written as in http://dragon:TOKEN@127.0.0.1:8765.
    """

    async def authorise(authorization: Annotated[str, Header()] = "") -> None:
        if not compare_digest(_shown(authorization).encode(), token.encode()):
            raise HTTPException(401, "wrong or missing token", {"WWW-Authenticate": "Bearer"})

    return FastAPI(openapi_url=None, dependencies=[Depends(authorise)])


def _shown(authorization: str) -> str:
    """Return the token that a header shows; an empty text if it shows none."""
    scheme, _, shown = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return shown
    with suppress(ValueError):  # no base64, or no text
        return b64decode(shown, validate=True).decode().partition(":")[2] if scheme.lower() == "basic" else ""
    return ""


async def body_of(request: Request) -> bytes:
    """Return the body of a request.

    Raises:
        HTTPException: status 400 if the connection ended before the body.
    """
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise HTTPException(400, "the connection ended before the body") from error


def bound(app: FastAPI, limit: int, remedy: str) -> None:
    """Limit the bodies of an application's requests to `limit` bytes, and answer malformed requests with what is wrong.

    Args:
        app: the application; all its routes must have been added.
        limit: the most bytes of a body, counted as they come, because the length that a client declares may be wrong.
        remedy: what a client may do about a larger body, as the end of a sentence.
    """
    app.add_middleware(_Bounded, limit=limit, remedy=remedy)
    app.add_exception_handler(RequestValidationError, _refuse)


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    """Answer with what is wrong, without the wrong value, because JSON cannot hold NaN or lone surrogates."""
    found: list[Any] = list(error.errors()) if isinstance(error, RequestValidationError) else []
    faults = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found]
    detail = printable("; ".join(faults)).encode("ascii", "backslashreplace").decode()
    return JSONResponse({"detail": detail}, UNPROCESSABLE)


@dataclass(frozen=True)
class _Bounded:
    """Middleware that counts the bytes of bodies and refuses bodies that are too large."""

    app: ASGIApp
    limit: int
    remedy: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = 0

        async def counted() -> Message:
            """Receive a message; when the body has become too large, act as if the client had hung up."""
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            return message if taken <= self.limit else {"type": "http.disconnect"}

        async def answered(message: Message) -> None:
            if taken <= self.limit:
                await send(message)

        with suppress(ClientDisconnect):
            await self.app(scope, counted, answered)
        if taken > self.limit:
            detail = f"the body is larger than {self.limit} bytes{self.remedy}"
            await JSONResponse({"detail": detail}, TOO_LARGE)(scope, receive, send)


class Impatient(H11Protocol):
    """The HTTP protocol of uvicorn, with a limit on how long the rest of a request may take.

    Plain uvicorn would wait for the rest as long as the connection stands.
    """

    _timer: TimerHandle | None = None
    _began = 0.0
    _taken = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start the time limit of the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Start the time limit of a request, extend it as more of it comes, and stop it when it is complete."""
        self._taken += len(data)
        if self._timer is None:  # the next request on a connection that was kept open
            self._wait()
        super().data_received(data)
        if self._is_whole:
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time limit, as no request can come any more."""
        self._stop()
        super().connection_lost(exc)

    @property
    def _is_whole(self) -> bool:
        return self.conn.their_state not in {h11.IDLE, h11.SEND_BODY}

    def _wait(self) -> None:
        self._began, self._taken = self.loop.time(), 0
        self._timer = self.loop.call_later(PATIENCE, self._look)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _look(self) -> None:
        """Close the connection if the request is late, or look again when the time for what has come has run out."""
        due = self._began + PATIENCE + self._taken / SLOWEST
        if self.loop.time() < due:
            self._timer = self.loop.call_at(due, self._look)
            return
        self._timer = None
        if not self.transport.is_closing():
            if self.conn.their_state is h11.IDLE or not self.cycle.response_started:
                self.transport.write(LATE)
            self.transport.close()
