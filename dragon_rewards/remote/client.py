"""The client of a server of encoders, on one connection that is kept open, and opened again when it is lost.

`http.client` is enough for one request at a time, and needs no other package than Python itself.
"""

from __future__ import annotations

import time
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import torch

from dragon_rewards.errors import DragonError, EncoderError
from dragon_rewards.exemplars import TEXT_BATCH
from dragon_rewards.protocols import Modality
from dragon_rewards.remote.config import Catalogue, check_facts, read_token
from dragon_rewards.remote.wire import MOST_HEADER, pack, pack_texts, unpack
from dragon_rewards.storage.decoding import decode_json
from dragon_rewards.terminal.printable import counted, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from http.client import HTTPResponse

    from torch import Tensor

    from dragon_rewards.remote.config import Facts, Remote

T = TypeVar("T")

ONCE = (0.0,)
# Seconds before each try. The second follows at once: a server closes connections that were idle for some seconds.
TRIES = (0.0, 0.0, 1.0, 2.0, 4.0, 8.0)
CONNECT_TIMEOUT = 5.0  # seconds
REPLY_TIMEOUT = 600.0  # seconds; large models on slow processors, behind other clients
MOST_REPLY = 2**31  # bytes; a server takes 2^28 bytes of audio at once, and frames may take a few times as many
PIECE = 2**20  # bytes
MOST_DETAIL = 500  # characters of a server's message that an error message repeats


class Client:
    """A connection to a server, which is open from `connect` until the client is no longer used.

    Attributes:
        limit: the most bytes of a body, as the server said when the connection was opened.
        encoders: the encoders that the server then offered, by name.
        token_limits: for each text encoder that reads only the beginning of a text, by name, how many tokens it reads.
    """

    limit: int
    encoders: dict[str, Facts]
    token_limits: dict[str, int]

    def __init__(
        self, url: str, token: str, subject: str, tries: Sequence[float] = TRIES, expected: Facts | None = None
    ) -> None:
        """Describe a server without connecting to it.

        Args:
            url: the address of the server.
            token: where the token is, as `read_token` takes it.
            subject: what the client is for; error messages begin with it.
            tries: seconds to wait before each try of a request.
            expected: an encoder that the server must offer under an unchanged identity; None for no such check.
        """
        self._url, self._token, self._subject = url, token, subject
        self._tries, self._expected = tries, expected
        self._connection: HTTPConnection | None = None
        self._lock = RLock()  # threads may share an encoder; a connection carries one request at a time

    def __del__(self) -> None:
        self._close()

    def connect(self) -> None:
        """Open the connection, or do nothing if it is open.

        Raises:
            EncoderError: the server cannot be reached, refuses the token, or no longer offers the expected encoder.
            ConfigError: there is no token.
        """
        self._persist(lambda: None)

    def post(self, path: str, body: bytes) -> bytes:
        """Send a body and return the body of the reply.

        Raises:
            EncoderError: the server refuses the request, or all tries failed.
            ConfigError: there is no token.
        """
        return self._persist(lambda: self._exchange("POST", path, body))

    def _persist(self, work: Callable[[], T]) -> T:
        """Do `work` on an open connection, and again on a new one if it is lost; to encode twice does no harm."""
        with self._lock:
            start = time.monotonic()
            for pause in self._tries:
                time.sleep(pause)
                try:
                    return self._once(work)
                except (OSError, HTTPException) as error:
                    lost = error
            raise EncoderError(
                f"{self._subject}: {len(self._tries)} tries in {time.monotonic() - start:.0f} s failed, the last with "
                f"{type(lost).__name__}: {lost}. Start `dragon serve` there again, or correct the URL or the network"
            ) from lost

    def _once(self, work: Callable[[], T]) -> T:
        try:
            if self._connection is None:
                self._open()
            return work()
        except BaseException:
            self._close()  # otherwise the rest of an interrupted reply would be read as the next reply
            raise

    def _open(self) -> None:
        parts = urlsplit(self._url)
        connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = connect(str(parts.hostname), parts.port, timeout=CONNECT_TIMEOUT)
        self._connection.auto_open = 0  # never reconnect without the checks below, as another server may answer
        self._connection.connect()
        self._connection.sock.settimeout(REPLY_TIMEOUT)
        self._read_catalogue(self._exchange("GET", "/encoders"))
        self._check_identity()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _read_catalogue(self, reply: bytes) -> None:
        try:
            catalogue = decode_json(reply, Catalogue, "its list of encoders", "check the URL")
            check_facts(catalogue.encoders)
        except DragonError as error:
            raise EncoderError(
                f"{self._subject}: this is no `dragon serve`, or one of another version ({error}); check the URL, and "
                "install the same dragon-rewards there and here"
            ) from error
        self.limit, self.encoders = catalogue.limit, {facts.name: facts for facts in catalogue.encoders}
        self.token_limits = catalogue.token_limits

    def _check_identity(self) -> None:
        if self._expected is None:
            return
        offered = self.encoders.get(self._expected.name)
        if offered is None or offered.identity != self._expected.identity:
            now = f"has identity '{offered.identity}'" if offered else "is not served any more"
            raise EncoderError(
                f"{self._subject}: was added with identity '{self._expected.identity}' and now {now}; "
                f"if that is meant, `dragon remote add {self._url}` again"
            )

    def _exchange(self, method: str, path: str, body: bytes | None = None) -> bytes:
        if body is not None and len(body) > self.limit:
            raise EncoderError(
                f"{self._subject}: one request takes {len(body)} bytes and the server accepts {self.limit}; "
                "give shorter clips or texts, or start it with a larger --limit-mb"
            )
        if self._connection is None:
            raise HTTPException("the connection is closed")
        try:
            self._connection.request(method, path, body, {"Authorization": f"Bearer {read_token(self._token)}"})
            reply = self._connection.getresponse()
            content = self._content(reply)
        except TimeoutError as error:
            raise EncoderError(
                f"{self._subject}: no answer within {REPLY_TIMEOUT:.0f} s; the server is too slow for batches of this "
                "size, or hangs: start it again"
            ) from error
        self._check_status(reply.status, content)
        return content

    def _content(self, reply: HTTPResponse) -> bytes:
        """Read the body and count its bytes as they come, because the length that a server declares may be wrong."""
        body = bytearray()
        while piece := reply.read(PIECE):
            body += piece
            if len(body) > MOST_REPLY:
                raise EncoderError(
                    f"{self._subject}: the reply is larger than {MOST_REPLY} bytes; give shorter clips, or start the "
                    "server with a smaller --limit-mb, which bounds the clips of one request"
                )
        if reply.length:  # `read` with a number of bytes does not say that the rest is missing
            raise IncompleteRead(b"", reply.length)
        return bytes(body)

    def _check_status(self, status: int, content: bytes) -> None:
        detail = f"status {status}, {_detail(content)}"
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise HTTPException(detail)
        if status == HTTPStatus.UNAUTHORIZED:
            raise EncoderError(f"{self._subject}: {detail}; put the server's token in {self._token}")
        if status != HTTPStatus.OK:
            raise EncoderError(f"{self._subject}: {detail}")


def _detail(content: bytes) -> str:
    """Return what a server says about a refusal, in characters that cannot control a terminal."""
    with suppress(DragonError, KeyError):
        return printable(str(decode_json(content, dict[str, Any], "the reply", "")["detail"])[:MOST_DETAIL])
    return printable(content[:MOST_DETAIL].decode(errors="replace"))


class RemoteEncoder:
    """An encoder of a server, used like one on this machine.

    Attributes:
        identity: the identity of the server's encoder, checked whenever the connection is opened.
    """

    def __init__(self, client: Client, facts: Facts) -> None:
        self.identity = facts.identity
        self._client, self._facts = client, facts
        self._place = f"the reply of encoder '{facts.name}'"

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Encode mono audio (clips, samples) as frames (clips, frames, dim) on the device of the audio.

        Raises:
            EncoderError: the audio requires gradients, the server refuses it, or all tries to reach the server failed.
        """
        if audio.requires_grad:
            raise EncoderError(f"encoder '{self._facts.name}' is remote: no gradient passes; use one installed here")
        rows = max((self._client.limit - MOST_HEADER) // (4 * max(audio.shape[1], 1)), 1)
        return torch.cat([self._frames(part) for part in audio.float().split(rows)]).to(audio.device)

    def _frames(self, audio: Tensor) -> Tensor:
        reply = self._client.post(f"/encode/audio/{self._facts.name}", pack("audio", audio))
        return self._checked(unpack(reply, "frames", ("clips", "frames", "dim"), self._place), len(audio))

    def _checked(self, output: Tensor, count: int) -> Tensor:
        if len(output) != count or output.shape[-1] != self._facts.dim:
            got = tuple(output.shape)
            raise EncoderError(
                f"encoder '{self._facts.name}' returned {got} for {count} inputs of dim {self._facts.dim}"
            )
        return output


class RemoteTextEncoder(RemoteEncoder):
    """A remote encoder that also embeds texts, and sends up to 256 of them in one request."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode texts as embeddings (texts, dim) on the CPU.

        Raises:
            EncoderError: the server refuses the texts, or all tries to reach the server failed.
        """
        return torch.cat([self._embed(texts[at : at + TEXT_BATCH]) for at in range(0, len(texts), TEXT_BATCH)])

    def _embed(self, texts: Sequence[str]) -> Tensor:
        reply = self._client.post(f"/encode/text/{self._facts.name}", pack_texts(texts))
        return self._checked(unpack(reply, "embeddings", ("texts", "dim"), self._place), len(texts))


class BoundedRemoteTextEncoder(RemoteTextEncoder):
    """A remote text encoder that reads only the beginning of a long text.

    Attributes:
        token_limit: the most tokens of a text that it reads.
    """

    def __init__(self, client: Client, facts: Facts, token_limit: int) -> None:
        super().__init__(client, facts)
        self.token_limit = token_limit

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each whole text; raises as `encode_text`."""
        counts: list[int] = []
        for at in range(0, len(texts), TEXT_BATCH):
            reply = self._client.post(f"/count/text/{self._facts.name}", pack_texts(texts[at : at + TEXT_BATCH]))
            counts += decode_json(reply, list[int], self._place, "check the server")
        if len(counts) != len(texts):
            raise EncoderError(f"encoder '{self._facts.name}' counted {counted(len(counts), 'text')} of {len(texts)}")
        return counts


def connect(remote: Remote, facts: Facts, tries: Sequence[float] = TRIES) -> RemoteEncoder:
    """Connect to a server and return the encoder that `facts` describe.

    Args:
        remote: the server of the encoder.
        facts: what the server said of the encoder when it was added.
        tries: seconds to wait before each try to reach the server.

    Raises:
        EncoderError: the server cannot be reached, refuses the token, or serves the encoder under another identity.
        ConfigError: there is no token.
    """
    subject = f"encoder '{remote.prefix}{facts.name}' at {remote.url}"
    client = Client(remote.url, remote.token, subject, tries, expected=facts)
    client.connect()
    if Modality.TEXT not in facts.modalities:
        return RemoteEncoder(client, facts)
    limit = client.token_limits.get(facts.name)
    return RemoteTextEncoder(client, facts) if limit is None else BoundedRemoteTextEncoder(client, facts, limit)


def offered(url: str, token: str) -> dict[str, Facts]:
    """Return the encoders that a server offers now, by name; the server is tried only once.

    Raises:
        EncoderError: the server cannot be reached, or refuses the token.
        ConfigError: there is no token.
    """
    client = Client(url, token, f"the server {url}", ONCE)
    client.connect()
    return client.encoders
