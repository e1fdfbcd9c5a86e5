"""Times requests to `dragon serve --rewards`: one after another, and twenty at once, which are scored together.

python reports/benchmarks/serving_speed.py        # serving.md: two minutes on two cores

Each request is one clip, so that the encoder has nothing to put together but what waits. The two ways take turns, so
that whatever else the machine does falls on both alike.
"""

from __future__ import annotations

import base64
import io
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import soundfile
from run import machine

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))  # tests start such servers too

from support.serving import serve  # noqa: E402
from support.sounds import tone  # noqa: E402

if TYPE_CHECKING:
    from support.serving import Server

REWARDS = ("per-song-fad:clap@airs", "per-song-fad:chroma@airs")
SECONDS, RATE = (1, 10), 44_100
AT_ONCE, REQUESTS, ROUNDS = 20, 60, 5
OK = 200


def body(seconds: float) -> bytes:
    """A request for the score of a clip."""
    file = io.BytesIO()
    soundfile.write(file, tone(seconds, RATE), RATE, format="WAV")
    return json.dumps({"audio": [base64.b64encode(file.getvalue()).decode()]}).encode()


def ask(server: Server, reward: str, content: bytes) -> None:
    """Send a request, and wait for its scores."""
    connection = HTTPConnection("127.0.0.1", server.port)
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
    connection.request("POST", f"/rewards/{reward}", content, headers)
    reply = connection.getresponse()
    said = reply.read()
    assert reply.status == OK, said
    connection.close()


def rate(server: Server, reward: str, content: bytes, clients: int) -> float:
    """Requests a second of so many clients, each of which sends its next request when it has its scores."""
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(lambda _: ask(server, reward, content), range(REQUESTS)))
    return REQUESTS / (time.perf_counter() - started)


def row(server: Server, reward: str, seconds: float) -> dict[str, str | float]:
    """Median rates of both ways, and the median of their ratios."""
    content = body(seconds)
    ask(server, reward, content)
    found = [(rate(server, reward, content, 1), rate(server, reward, content, AT_ONCE)) for _ in range(ROUNDS)]
    single, many = zip(*found, strict=True)
    ratio = statistics.median(later / first for first, later in found)
    rates = {"one by one": statistics.median(single), f"{AT_ONCE} at once": statistics.median(many)}
    return {"reward": reward, "seconds of a clip": seconds, **rates, "ratio": ratio}


def main() -> None:
    """Write `serving.md`."""
    with tempfile.TemporaryDirectory() as folder:
        server = serve("--rewards", ",".join(REWARDS), site=Path(folder))
        found = pd.DataFrame([row(server, reward, seconds) for reward in REWARDS for seconds in SECONDS])
        server.stop()
    about = f"Requests a second, each of one clip, median of {ROUNDS} rounds of {REQUESTS} (`{Path(__file__).name}`)."
    load = f"{os.getloadavg()[0]:.0f} other and own processes on average wanted the cores meanwhile."
    parts = [machine("cpu"), f"{about} {load}", found.to_markdown(index=False, floatfmt=".3g")]
    (HERE / "serving.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
