"""The part of `dragon serve` that offers encoders: it runs one encode at a time per encoder.

    GET  /encoders              {"limit": bytes, "encoders": [facts], "token_limits": {NAME: tokens}}
    POST /encode/audio/NAME     safetensors "audio" (clips, samples) -> safetensors "frames" (clips, frames, dim)
    POST /encode/text/NAME      JSON list of texts -> safetensors "embeddings" (texts, dim)
    POST /count/text/NAME       JSON list of texts -> JSON list of how many tokens each has

Statuses: 400 malformed body, 401 wrong token, 404 not served, 408 half-sent, 413 too large, 422 audio or text that
cannot be encoded (NaN, lone surrogates) or that the encoder refuses.
"""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from fastapi import FastAPI, HTTPException, Request, Response

from dragon_rewards.errors import DragonError
from dragon_rewards.protocols import AudioEncoder, BoundedTextEncoder, TextEncoder
from dragon_rewards.remote.config import Facts
from dragon_rewards.remote.http import body_of
from dragon_rewards.remote.wire import WireError, pack, unpack, unpack_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor

    from dragon_rewards.plugins import PluginRecord
    from dragon_rewards.protocols import Encoder, EncoderInfo
    from dragon_rewards.registry import Registry


def one_thread() -> ThreadPoolExecutor:
    """Return an executor with a single thread, in which an encoder encodes one batch at a time."""
    return ThreadPoolExecutor(max_workers=1)


@dataclass(frozen=True)
class Served:
    """An encoder and its thread, in which it encodes one body at a time while the event loop goes on answering.

    Attributes:
        info: the descriptor of the encoder.
        encoder: the encoder itself.
        owner: the plugin that registered it.
        device: the device of the encoder, to which its audio is moved.
        thread: the executor with the encoder's only thread.
    """

    info: EncoderInfo
    encoder: Encoder
    owner: PluginRecord
    device: torch.device
    thread: ThreadPoolExecutor = field(default_factory=one_thread)

    @property
    def facts(self) -> Facts:
        """The facts on the encoder that clients store."""
        return Facts(
            name=self.info.name,
            modalities=tuple(sorted(self.info.modalities)),
            dim=self.info.dim,
            sample_rate=self.info.sample_rate,
            licence=self.info.licence,
            summary=self.info.summary,
            identity=self.encoder.identity,
            package=self.owner.package,
            version=self.owner.version,
        )

    def audio(self, body: bytes) -> bytes:
        """Encode a body of audio as a body of frames.

        Raises:
            WireError: the body is malformed or holds no samples.
            DragonError: the encoder takes no audio, or the audio is not finite. Errors of the encoder pass unchanged.
        """
        if not isinstance(self.encoder, AudioEncoder):
            raise DragonError(f"encoder '{self.info.name}' hears no audio")
        audio = unpack(body, "audio", ("clips", "samples"))
        if not audio.numel():
            raise WireError(f"the body holds audio {tuple(audio.shape)}; send at least one sample")
        if not audio.isfinite().all():
            raise DragonError("the audio holds values that are not finite")
        return pack("frames", _without_gradients(self.encoder.encode_audio, audio.to(self.device)))

    def text(self, body: bytes) -> bytes:
        """Encode a body of texts as a body of embeddings.

        Raises:
            WireError: the body is malformed.
            DragonError: the encoder takes no text, or a text holds a lone surrogate. Errors of the encoder pass
                unchanged.
        """
        if not isinstance(self.encoder, TextEncoder):
            raise DragonError(f"encoder '{self.info.name}' embeds no text")
        return pack("embeddings", _without_gradients(self.encoder.encode_text, unpack_texts(body)))

    def count(self, body: bytes) -> bytes:
        """Count the tokens of a body of texts, and return the counts as a body.

        Raises:
            WireError: the body is malformed.
            DragonError: the encoder counts no tokens, or a text holds a lone surrogate. Errors of the encoder pass
                unchanged.
        """
        if not isinstance(self.encoder, BoundedTextEncoder):
            raise DragonError(f"encoder '{self.info.name}' counts no tokens")
        return json.dumps(list(self.encoder.count_tokens(unpack_texts(body)))).encode()

    async def answer(self, work: Callable[[bytes], bytes], body: bytes) -> Response:
        """Run `work` on a body in the encoder's thread, and answer with the result.

        Raises:
            HTTPException: status 400 if the body is malformed, 422 if the encoder refuses it or fails.
        """
        try:
            content = await asyncio.get_running_loop().run_in_executor(self.thread, work, body)
        except WireError as error:
            raise HTTPException(400, str(error)) from error
        # torch raises RuntimeError where a clip is shorter than a frame, or memory ends: no retry would help.
        except (DragonError, RuntimeError) as error:
            raise HTTPException(422, str(error)) from error
        return Response(content, media_type="application/octet-stream")


def _without_gradients(encode: Callable[[Any], Tensor], batch: Any) -> Tensor:
    with torch.no_grad():  # applies to the current thread only
        return encode(batch)


@dataclass(frozen=True)
class Service:
    """The handlers of the requests for encoders.

    Attributes:
        served: the encoders by name.
        limit: the most bytes of a body.
    """

    served: dict[str, Served]
    limit: int

    def add_to(self, app: FastAPI) -> None:
        """Add the routes of encoders to an application."""
        app.add_api_route("/encoders", self.catalogue)
        app.add_api_route("/encode/audio/{name}", self.audio, methods=["POST"])
        app.add_api_route("/encode/text/{name}", self.text, methods=["POST"])
        app.add_api_route("/count/text/{name}", self.count, methods=["POST"])

    async def catalogue(self) -> dict[str, Any]:
        """Answer with the served encoders, the limit of a body, and the token limits of text encoders that have one."""
        encoders = {name: served.encoder for name, served in self.served.items()}
        bounded = {name: each for name, each in encoders.items() if isinstance(each, BoundedTextEncoder)}
        return {
            "limit": self.limit,
            "encoders": [asdict(served.facts) for served in self.served.values()],
            "token_limits": {name: encoder.token_limit for name, encoder in bounded.items()},
        }

    async def audio(self, name: str, request: Request) -> Response:
        """Answer a request to encode audio with a body of frames."""
        served = self._find(name)
        return await served.answer(served.audio, await body_of(request))

    async def text(self, name: str, request: Request) -> Response:
        """Answer a request to encode texts with a body of embeddings."""
        served = self._find(name)
        return await served.answer(served.text, await body_of(request))

    async def count(self, name: str, request: Request) -> Response:
        """Answer a request to count tokens with a list of the counts."""
        served = self._find(name)
        return await served.answer(served.count, await body_of(request))

    def _find(self, name: str) -> Served:
        if name not in self.served:
            raise HTTPException(404, f"encoder '{name}' is not served here, only {', '.join(self.served)}")
        return self.served[name]


def encoder_service(
    registry: Registry,
    names: Iterable[str],
    limit: int,
    device: torch.device,
    threads: Mapping[str, ThreadPoolExecutor],
) -> Service:
    """Build the encoders of these names, and return the handlers that offer them.

    Args:
        registry: where they are registered.
        names: the names of the encoders.
        limit: the most bytes of a body, which clients are told.
        device: where the encoders run.
        threads: the thread of each encoder, by its name.

    Raises:
        DragonError: an encoder is unknown or could not be built.
    """
    return Service({name: _served(registry, name, device, threads[name]) for name in names}, limit)


def _served(registry: Registry, name: str, device: torch.device, thread: ThreadPoolExecutor) -> Served:
    info, encoder = registry.encoder(name), registry.build_encoder(name, device)
    return Served(info, encoder, registry.owners["register_encoders", name], device, thread)
