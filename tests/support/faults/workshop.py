"""Good files of every kind, made by the commands that make them for a user, in one folder."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import warnings
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

from support.faults import material
from support.faults.forks import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.faults.forks import Nursery

ADD = ("exemplars", "add", "mine", "music", "--encoder", "logmel")
FACETS = ("exemplars", "facets", "mine", "--encoder", "logmel", "--count", 2)
EXPORT = ("exemplars", "export", "mine", "mine.dragon")
SCORE = ("score", "per-song-fad:logmel@airs", "music")
POINTS = ("score", "kad:logmel@mine", "music")
FIT = ("fit-ratings", "ratings.csv", "--encoder", "logmel", "--name", "taste")
RATED = "abcdefghij"
SECONDS = 2.0  # that a vote takes


def must(folder: Path, nursery: Nursery, *commands: tuple[object, ...]) -> None:
    """Run commands that succeed."""
    for command in commands:
        done = nursery.run(folder, *command)
        assert done.code == 0, (command, done.err)


def make_sets(folder: Path, nursery: Nursery) -> None:
    """An exemplar set with statistics, facets and points, its archive, cached embeddings, and a head of ratings."""
    material.write_sounds(folder / "music")
    material.write_sounds(folder / "rated", RATED)
    rows = [f"rated/{name}.wav,{1 + place % 5}" for place, name in enumerate(RATED)]
    (folder / "ratings.csv").write_text("\n".join(["path,rating", *rows]), encoding="utf-8")
    must(folder, nursery, ADD, FACETS, EXPORT, SCORE, POINTS, FIT)


def make_votes(folder: Path, nursery: Nursery) -> None:
    """A listening test of two folders, its file of votes, and the votes that a rater's page downloads."""
    from dragon_rewards.evaluation.listening.votes import Choice, Vote, VoteFile

    for name in ("a", "b"):
        material.write_sounds(folder / name)
    must(folder, nursery, ("listen", "page", "a", "b", "--db", "votes.sqlite", "--out", "page.html"))
    file = VoteFile(folder / "votes.sqlite")
    plan = file.plan()
    assert plan
    for name in ("Ann", "Bob"):
        rater = file.enter(name)
        for place, trial in enumerate(plan.trials(rater.seat)):
            file.add(Vote(rater.name, place, trial, Choice.TIE if place % 2 else Choice.LEFT, SECONDS))
    votes = [{"choice": "right", "seconds": SECONDS}] * plan.length
    held = {"plan": plan.digest, "rater": "Cem", "seat": 123456, "votes": votes}
    (folder / "votes.json").write_text(json.dumps(held), encoding="utf-8")
    for rest in folder.glob("votes.sqlite-*"):
        rest.unlink()


def make_runs(folder: Path, nursery: Nursery) -> None:
    """A finished run, one that was killed after its last step, and its prompts."""
    material.write_settings(folder)
    done = nursery.run(folder, *material.TRAIN)
    assert done.code == 0, done.err
    saving = next(line for line in done.events if "adapter_config.json" in line)
    nursery.run(folder, "train", "run.toml", "--out", "stopped", last=int(saving.split()[0]))
    assert (folder / "stopped" / "checkpoint.pt").is_file()


def make_results(folder: Path, nursery: Nursery) -> None:
    """A finished run that was watched, its exam and its blends."""
    material.write_settings(folder)
    with (folder / "run.toml").open("a", encoding="utf-8") as settings:
        settings.write(material.WATCHED)
    (folder / "unseen.txt").write_text("\n".join(material.UNSEEN), encoding="utf-8")
    must(folder, nursery, material.TRAIN, material.EXAM, material.BLEND)


def make_studies(folder: Path, nursery: Nursery) -> None:
    """A benchmark and an ablation; a benchmark of six clips has no facets, and is given those of a larger one."""
    material.write_settings(folder)
    must(folder, nursery, material.BENCH, material.ABLATE)
    (folder / "bench" / "facets.csv").write_text(material.FACETS, encoding="utf-8")


def make_pipeline(folder: Path, nursery: Nursery) -> None:
    """A tiny pipeline of random weights, as diffusers saves it."""
    from support.pipelines import build

    assert nursery.process.poll() is None
    with warnings.catch_warnings(action="ignore"):  # of libraries
        build("stable-audio").save_pretrained(folder / "tiny")


def make_replies(folder: Path, nursery: Nursery) -> None:
    """What `dragon serve` answers about its encoders and about a clip; from now on a server gives what is there."""
    import torch

    from dragon_rewards.remote.wire import pack

    material.write_sounds(folder / "music", "a")
    (folder / "token").write_text(TOKEN, encoding="utf-8")
    with serving(folder, nursery, "serve", "--encoders", "logmel", "--token-file", "token") as url:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        clip = pack("audio", torch.from_numpy(material.sound())[None])
        for name, path, body in (("encoders", "encoders", None), ("frames", "encode/audio/logmel", clip)):
            with urlopen(Request(f"{url}/{path}", body, headers), timeout=60) as answer:  # noqa: S310  local
                (folder / name).write_bytes(answer.read())
    url = replying(folder)
    (folder / "url").write_text(url, encoding="utf-8")
    must(folder, nursery, ("remote", "add", url, "--token-env", "DRAGON_TOKEN", "--prefix", "far-"))


@contextmanager
def serving(folder: Path, nursery: Nursery, *arguments: object, last: int = 0) -> Iterator[str]:
    """A command that serves on a free port; its URL, empty if it was killed before."""
    (child,) = nursery.begin(folder, [(*arguments, "--port", 0)], last=last)
    said = Path(str(nursery.jobs[0]["err"]))
    while not (url := re.search(r"http://[\w.:]+", said.read_text(errors="replace") if said.exists() else "")):
        if nursery.has_ended():
            break
        time.sleep(0.02)
    try:
        yield url[0] if url else ""
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        nursery.end()


def replying(folder: Path) -> str:
    """A server on a thread of this process, of what is in a folder now; its URL."""

    class Reply(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer("encoders")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer("frames")

        def answer(self, name: str) -> None:
            content = (folder / name).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Reply)
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


MAKERS: dict[str, Callable[[Path, Nursery], None]] = {
    "sets": make_sets,
    "votes": make_votes,
    "runs": make_runs,
    "results": make_results,
    "studies": make_studies,
    "pipeline": make_pipeline,
    "replies": make_replies,
}
