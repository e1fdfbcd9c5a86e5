"""A remote encoder is like any other; lost connections are made again, and what cannot be mended is said."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import torch

from dragon_rewards.errors import AudioError, ConfigError, DragonError, EncoderError
from dragon_rewards.protocols import BoundedTextEncoder, TextEncoder
from dragon_rewards.registry import load_registry
from dragon_rewards.remote.client import TRIES, connect, offered
from dragon_rewards.remote.config import load_remotes
from dragon_rewards.rewards import compose

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.serving import Server

    from dragon_rewards.protocols import Encoder

PROMPTS = ["a slow air on the fiddle", "a fast jig on the organ", "a sad waltz"]


def noise(clips: int, samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(3))


def plain(tries: tuple[float, ...] = TRIES) -> Any:
    """The encoder `plain` of the server that was added."""
    (remote,) = load_remotes()
    facts = next(facts for facts in remote.encoders if facts.name == "plain")
    return connect(remote, facts, tries)


def build(name: str) -> Any:
    encoder: Encoder = load_registry().build_encoder(name)
    return encoder


@pytest.mark.parametrize("reward", ["clap-score:{}clap", "vendi:{}clap", "vendi:{}chroma"])
def test_rewards_are_those_of_the_local_encoder_to_the_last_bit(
    server: Server, add: Callable[..., None], reward: str
) -> None:
    add(server)
    local, far = (compose(reward.format(prefix)).score(noise(3, 40_000), 16_000, PROMPTS) for prefix in ("", "far-"))
    assert torch.equal(far, local)


def test_a_text_set_is_encoded_remotely(server: Server, add: Callable[..., None]) -> None:
    add(server)
    names = ("per-song-fad:clap@airs-captions", "per-song-fad:far-clap@airs-captions")
    local, far = (compose(name).score(noise(3, 40_000), 16_000) for name in names)
    # The local statistics were stored, by an encoder that saw the captions in other batches.
    torch.testing.assert_close(far, local, rtol=1e-4, atol=0)


def test_text_embeddings_of_more_than_a_request(server: Server, add: Callable[..., None]) -> None:
    add(server)
    texts = [f"{prompt} {index}" for index in range(100) for prompt in PROMPTS]
    assert isinstance(build("far-clap"), TextEncoder)
    assert not isinstance(build("far-chroma"), TextEncoder)
    torch.testing.assert_close(build("far-clap").encode_text(texts), build("clap").encode_text(texts))


def test_what_a_remote_encoder_reads_of_a_text_is_known_here(server: Server, add: Callable[..., None]) -> None:
    add(server)
    texts = [f"{prompt} {index}" for index in range(100) for prompt in PROMPTS] + ["a slow air " * 20]
    far, near = build("far-clap"), build("clap")
    assert isinstance(far, BoundedTextEncoder)
    assert far.token_limit == near.token_limit
    assert far.count_tokens(texts) == near.count_tokens(texts)
    with pytest.raises(EncoderError, match=r"status 422, encoder 'plain' counts no tokens"):
        plain()._client.post("/count/text/plain", b'["a"]')


def test_batches_are_split_where_a_request_would_be_too_large(server: Server, add: Callable[..., None]) -> None:
    add(server)
    audio = noise(5, 110_000)  # two of these clips are less than 1 MiB, three are more
    assert torch.equal(build("far-plain").encode_audio(audio), audio.unsqueeze(-1))
    torch.testing.assert_close(build("far-clap").encode_audio(audio), build("clap").encode_audio(audio))


def test_a_clip_larger_than_a_request_is_refused_before_it_is_sent(server: Server, add: Callable[..., None]) -> None:
    add(server)
    with pytest.raises(EncoderError, match=r"takes \d+ bytes and the server accepts 1048576; .* --limit-mb"):
        plain().encode_audio(noise(1, 2**18))


def test_a_reply_that_is_too_large_is_refused(
    server: Server, add: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    add(server)
    encoder = plain()
    monkeypatch.setattr("dragon_rewards.remote.client.MOST_REPLY", 4000)
    assert encoder.encode_audio(noise(1, 900)).shape == (1, 900, 1)
    with pytest.raises(EncoderError, match=r"'far-plain' .* the reply is larger than 4000 bytes; give shorter clips"):
        encoder.encode_audio(noise(1, 1000))


class Halves(BaseHTTPRequestHandler):
    """Ends the connection in the middle of each reply."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "20")
        self.end_headers()
        self.wfile.write(b'{"limit": ')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as above
        """Say nothing."""


def test_a_reply_that_is_cut_short_is_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_TOKEN", "any")
    with HTTPServer(("127.0.0.1", 0), Halves) as cut, ThreadPoolExecutor() as threads:
        threads.submit(cut.handle_request)
        with pytest.raises(EncoderError, match=r"1 tries in .* failed, the last with IncompleteRead"):
            offered(f"http://127.0.0.1:{cut.server_port}", "env:DRAGON_TOKEN")


def test_a_batch_that_fits_exactly_is_one_request(server: Server, add: Callable[..., None]) -> None:
    add(server)
    audio = noise(1, 2**18 - 2**8)
    assert plain().encode_audio(audio).shape == (1, len(audio[0]), 1)


def test_what_the_encoder_refuses_is_refused_at_once_in_its_words(server: Server, add: Callable[..., None]) -> None:
    add(server)
    start = time.monotonic()
    with pytest.raises(EncoderError, match=r"'far-plain' at http://127.*422, clips of 9 samples are too short"):
        plain().encode_audio(noise(2, 9))
    assert time.monotonic() - start < 1  # without the pauses of retries


def test_a_clip_without_frames_has_none_remotely(server: Server, add: Callable[..., None]) -> None:
    add(server)
    assert build("far-chroma").encode_audio(noise(2, 100)).shape == (2, 0, 12)
    with pytest.raises(AudioError, match="shorter than one frame of encoder 'far-chroma'"):
        compose("vendi:far-chroma").score(noise(2, 100), 16_000)


def test_torch_errors_of_the_encoder_are_refusals(server: Server, add: Callable[..., None]) -> None:
    add(server)
    with pytest.raises(EncoderError, match=r"'far-plain'.*status 422.*mat1 and mat2"):
        plain().encode_audio(noise(2, 11))


def test_no_gradient_passes(server: Server, add: Callable[..., None]) -> None:
    add(server)
    with pytest.raises(EncoderError, match="'plain' is remote: no gradient passes"):
        plain().encode_audio(noise(1, 100).requires_grad_())


def test_an_encoder_that_breaks_its_word_is_refused(server: Server, add: Callable[..., None]) -> None:
    add(server)
    with pytest.raises(EncoderError, match=r"'broken' returned \(1, 100, 2\) for 1 inputs of dim 1"):
        build("far-broken").encode_audio(noise(1, 100))


def test_a_failure_of_the_server_is_tried_again(server: Server, add: Callable[..., None]) -> None:
    add(server)
    audio = noise(1, 100)
    assert torch.equal(build("far-flaky").encode_audio(audio), audio.unsqueeze(-1))


def test_clients_at_once_take_turns_and_the_server_goes_on_answering(server: Server, add: Callable[..., None]) -> None:
    add(server)
    encoders = [build("far-slow"), build("far-slow"), plain()]
    with ThreadPoolExecutor() as threads:
        encodes = [threads.submit(encoder.encode_audio, noise(1, 10)) for encoder in encoders[:2] for _ in range(2)]
        start = time.monotonic()
        plain().encode_audio(noise(1, 10))
        waited = time.monotonic() - start
        assert [float(encode.result().max()) for encode in encodes] == [1] * 4  # never two in one encoder
    assert waited < time.monotonic() - start  # 2 s of encodes in turn


def test_a_client_in_use_survives_a_restart(start: Callable[..., Server], add: Callable[..., None]) -> None:
    server = start()
    add(server)
    encoder, audio = plain(), noise(1, 10)
    encoder.encode_audio(audio)
    server.stop(signal.SIGKILL)
    start(server.port)
    assert torch.equal(encoder.encode_audio(audio), audio.unsqueeze(-1))


@pytest.mark.slow
def test_a_server_killed_at_work_is_asked_again(start: Callable[..., Server], add: Callable[..., None]) -> None:
    server = start()
    add(server)
    encoder = build("far-slow")
    with ThreadPoolExecutor() as threads:
        encode = threads.submit(encoder.encode_audio, noise(1, 10))
        time.sleep(0.2)  # of the half second that it takes
        server.stop(signal.SIGKILL)
        assert not encode.done()
        start(server.port)
        assert float(encode.result().max()) == 1


@pytest.mark.slow
def test_an_idle_connection_that_the_server_closed_costs_no_pause(
    start: Callable[..., Server], add: Callable[..., None]
) -> None:
    add(start())
    encoder = plain(tries=TRIES[:2])
    time.sleep(6)  # uvicorn closes after 5
    assert encoder.encode_audio(noise(1, 10)).shape == (1, 10, 1)


def test_a_server_that_is_gone_is_an_error_with_its_address_and_the_remedy(
    start: Callable[..., Server], add: Callable[..., None]
) -> None:
    server = start()
    add(server)
    encoder = plain(tries=(0.0, 0.0, 0.2, 0.3))
    server.stop(signal.SIGKILL)
    begin = time.monotonic()
    with pytest.raises(EncoderError) as lost:
        encoder.encode_audio(noise(1, 10))
    assert 0.5 <= time.monotonic() - begin < 2
    for part in (f"encoder 'far-plain' at {server.url}: 4 tries in", "ConnectionRefusedError", "Start `dragon serve`"):
        assert part in str(lost.value)


def test_the_tries_take_fifteen_seconds() -> None:
    assert sum(TRIES) == 15


def test_an_encoder_whose_server_is_gone_is_not_built(
    start: Callable[..., Server], add: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    add(server)
    server.stop()
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # noqa: ARG005
    with pytest.raises(DragonError, match=r"encoder 'far-plain' of dragon_rewards.remote.plugin .* 6 tries"):
        compose("vendi:far-plain").score(noise(2, 100), 8000)


def test_another_identity_is_refused_on_connection_and_when_the_server_changes(
    start: Callable[..., Server], add: Callable[..., None]
) -> None:
    server = start()
    add(server)
    encoder = plain()
    server.stop(signal.SIGKILL)
    start(server.port, PLAIN_IDENTITY="plain-2")
    message = f"identity 'plain-1' and now has identity 'plain-2'; .* `dragon remote add {server.url}`"
    uses: tuple[Callable[[], object], ...] = (lambda: encoder.encode_audio(noise(1, 10)), plain)
    for use in uses:
        with pytest.raises(EncoderError, match=message):
            use()
    add(server)
    assert plain().identity == "plain-2"


def test_an_encoder_that_is_served_no_more_is_refused(start: Callable[..., Server], add: Callable[..., None]) -> None:
    add(start())
    (remote,) = load_remotes()
    with pytest.raises(EncoderError, match=r"'far-flaky' .*is not served any more"):
        connect(remote, replace(remote.encoders[0], name="flaky"))


def test_a_new_token_is_asked_for_without_retries(server: Server, add: Callable[..., None], monkeypatch: Any) -> None:
    add(server)
    monkeypatch.setenv("DRAGON_TOKEN", "another")
    with pytest.raises(EncoderError, match=r"status 401, wrong or missing token; put .* in env:DRAGON_TOKEN"):
        plain(tries=(0.0, 60.0))
    monkeypatch.delenv("DRAGON_TOKEN")
    with pytest.raises(ConfigError, match=r"no token in env:DRAGON_TOKEN .*; export DRAGON_TOKEN=TOKEN"):
        plain(tries=(0.0, 60.0))
