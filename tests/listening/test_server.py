"""The served test: what it answers, what it keeps from raters, and that no vote is ever lost or overwritten."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from threading import Event
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError

import pytest
from support.listening import folder, serve, side_of

from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation.listening.setup import open_test
from dragon_rewards.evaluation.listening.votes import VoteFile

if TYPE_CHECKING:
    from pathlib import Path

    from support.listening import Server

    from dragon_rewards.evaluation.listening.plan import Plan

pytestmark = pytest.mark.slow

TIE = {"choice": "tie", "seconds": 1.5}


def status(server: Server, path: str, body: object = None) -> int:
    with pytest.raises(HTTPError) as refusal:
        server.ask(path, body)
    refusal.value.close()
    return refusal.value.code


def test_acknowledged_votes_survive_a_kill(a: Path, b: Path, tmp_path: Path) -> None:
    db, acknowledged = tmp_path / "votes.sqlite", list[int]()
    killed = serve(a, b, db)
    rater = killed.enter("Ann")

    def take() -> None:
        for trial in range(8):
            killed.encode_files(rater, trial)
            if trial == 3:
                halfway.set()
            acknowledged.append(killed.ask(f"{rater}/{trial}", TIE)["done"])

    halfway = Event()
    with ThreadPoolExecutor(1) as pool:
        taking = pool.submit(take)
        assert halfway.wait(60)
        killed.kill()  # while the fourth is under way
        with pytest.raises((URLError, HTTPException, ConnectionError)):
            taking.result()
    kept = [vote.trial for vote in VoteFile(db).votes()]
    assert acknowledged in ([1, 2, 3], [1, 2, 3, 4])
    assert kept in (list(range(len(acknowledged))), list(range(len(acknowledged) + 1)))
    again = serve(a, b, db, port=int(killed.url.rpartition(":")[2]))
    assert again.ask(rater)["done"] == len(kept)  # a page that was open all the time goes on
    assert again.enter("Ann") == rater
    again.encode_files(rater, len(kept))
    again.ask(f"{rater}/{len(kept)}", TIE)
    again.kill()
    assert len(VoteFile(db).votes()) == len(kept) + 1


def refusal(server: Server, path: str, seconds: float) -> str:
    """What is said about a vote after so many seconds."""
    with pytest.raises(HTTPError) as refused:
        server.ask(path, TIE | {"seconds": seconds})
    with refused.value as answer:
        assert answer.code == 422
        return str(json.load(answer)["detail"])


def test_a_vote_before_both_sounds_can_be_heard_is_refused(server: Server) -> None:
    """By the server's clock and by the page's, either of which a client may make up."""
    rater = server.enter("Has")
    vote = f"{rater}/0"
    assert "were not asked for" in refusal(server, vote, 9)
    server.get(f"{vote}/left")
    assert "were not asked for" in refusal(server, vote, 9)
    server.get(f"{vote}/right")
    assert "both sounds take 0.7 s to hear" in refusal(server, vote, 9)  # two of 0.4 s, less what may go unheard
    server.encode_files(rater, 0)
    assert "both sounds take 0.7 s to hear" in refusal(server, vote, 0.6)
    assert server.ask(vote, TIE)["done"] == 1


def test_a_server_that_is_started_anew_keeps_no_rater_waiting(a: Path, b: Path, tmp_path: Path) -> None:
    first = serve(a, b, tmp_path / "votes.sqlite")
    rater = first.enter("Ann")
    first.encode_files(rater, 0)
    first.kill()
    second = serve(a, b, first.db)
    assert second.ask(f"{rater}/0", TIE)["done"] == 1
    for side in ("left", "right"):
        second.get(f"{rater}/1/{side}")
    with closing(sqlite3.connect(first.db)) as connection, connection:
        connection.execute("UPDATE sounds SET at = at + 3600")  # as if the clock were put back by an hour since
    assert second.ask(f"{rater}/1", TIE)["done"] == 2
    second.kill()


def test_many_raters_at_once_and_one_in_two_windows(server: Server) -> None:
    def take(name: str) -> list[int]:
        rater = server.enter(name)
        dones = []
        for trial in range(6):
            with suppress(HTTPError):  # the other window may have gone on
                server.encode_files(rater, trial)
            dones.append(server.ask(f"{rater}/{trial}", TIE)["done"])
        return dones

    names = ["Bob", "Cem", "Dee", "Eve", "Bob"]  # Bob's windows vote alike
    with ThreadPoolExecutor(len(names)) as pool:
        answers = list(pool.map(take, names))
    assert all(dones[-1] == 6 for dones in answers)
    file = VoteFile(server.db)
    cast = sorted((vote.rater, vote.trial) for vote in file.votes() if vote.rater in names)
    assert cast == [(name, trial) for name in sorted(set(names)) for trial in range(6)]
    seats = [rater.seat for rater in file.raters()]
    assert seats == list(range(len(seats)))


def test_a_vote_is_not_changed_skipped_or_taken_back(server: Server) -> None:
    rater = server.enter(" Ann ")
    assert server.enter("Ann") == rater
    assert status(server, f"{rater}/1", TIE) == 409
    assert status(server, f"{rater}/6", TIE) == 409
    server.encode_files(rater, 0)
    server.ask(f"{rater}/0", TIE)
    assert server.ask(f"{rater}/0", TIE)["done"] == 1
    assert status(server, f"{rater}/0", TIE | {"choice": "left"}) == 409
    assert status(server, f"{rater}/1", TIE | {"choice": "both"}) == 422
    assert status(server, f"{rater}/1", TIE | {"seconds": -1}) == 422
    assert status(server, "raters", {"name": "  "}) == 422
    assert status(server, "raters/somebody") == 404
    with closing(sqlite3.connect(server.db)) as connection:
        for change in ("UPDATE votes SET choice = 'left'", "DELETE FROM votes"):
            with pytest.raises(sqlite3.IntegrityError, match="votes stay"):
                connection.execute(change)
    assert [vote.choice for vote in VoteFile(server.db).votes() if vote.rater == "Ann"] == ["tie"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "a\\ud800"}',
        b'{"name": "a\\u001b[2J"}',
        b'{"name": "a\\u2028b"}',
        b'{"name": "\\ud800\\ud800", "more": NaN}',
        b'{"name": NaN}',
        b'{"name": ["\\ud800"]}',
        b'{"name": {"\\ud800": NaN}}',
        b'["\\ud800", NaN]',
    ],
)
def test_what_is_no_name_takes_no_seat(server: Server, body: bytes) -> None:
    before = len(VoteFile(server.db).raters())
    answered, detail = sent(server, "raters", body)
    assert answered == 422
    assert "name" in detail or "body" in detail
    assert detail.isascii()
    assert len(VoteFile(server.db).raters()) == before


@pytest.mark.parametrize("seconds", ["NaN", "Infinity", "-Infinity", "1e999", '"\\ud800"', "[NaN]"])
def test_a_vote_after_no_time_is_refused(server: Server, seconds: str) -> None:
    rater = server.enter("Nan")
    answered, detail = sent(server, f"{rater}/0", b'{"choice": "tie", "seconds": %b}' % seconds.encode())
    assert answered == 422
    assert "seconds" in detail


@pytest.mark.parametrize("body", [b"[" * 10_000, b"{" * 10_000, b'{"name": 1' + b"0" * 10_000 + b"}", b"\xff\xfe"])
def test_what_is_no_json_is_refused(server: Server, body: bytes) -> None:
    assert sent(server, "raters", body)[0] in {400, 422}


def test_a_large_body_is_refused_before_a_seat_is_given(server: Server) -> None:
    before = len(VoteFile(server.db).raters())
    assert sent(server, "raters", b'{"name": "Ann", "more": "%b"}' % (b"x" * 2**15))[0] == 413
    assert sent(server, "raters", b" " * 2**15 + b'{"name": "Ann"}')[0] == 413
    assert len(VoteFile(server.db).raters()) == before


def sent(server: Server, path: str, body: bytes) -> tuple[int, str]:
    """Status and detail of the answer to a body as it is."""
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    connection.request("POST", f"/{path}", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    detail = json.loads(answer.read())["detail"]
    connection.close()
    return answer.status, str(detail)


def test_the_file_of_votes_is_its_owners_alone(server: Server) -> None:
    with closing(sqlite3.connect(server.db)) as connection:
        connection.execute("SELECT count(*) FROM raters")
        files = [*server.db.parent.glob(f"{server.db.name}*")]
        modes = {file.stat().st_mode & 0o777 for file in files}
    assert len(files) == 3  # with what SQLite puts beside it
    assert modes == {0o600}


def test_raters_learn_nothing(server: Server, a: Path, b: Path) -> None:
    rater = server.enter("Fay")
    assert set(server.ask(rater)) == {"done", "total", "prompt"}
    sounds = []
    for side in ("left", "right"):
        content, headers = server.get(f"{rater}/0/{side}")
        sounds.append(content)
        names = {name.lower() for name in headers}
        assert names & {"etag", "last-modified", "content-disposition", "accept-ranges"} == set()
        assert headers["cache-control"] == "no-store"
    file = VoteFile(server.db)
    plan, (seat,) = file.plan(), (rater.seat for rater in file.raters() if rater.name == "Fay")
    assert plan is not None
    assert (sounds[0] == sounds[1]) == (plan.trials(seat)[0].kind == "identical")
    assert status(server, f"{rater}/1/left") == 409
    assert status(server, f"{rater}/0/a") == 422
    page, _ = server.get("")
    assert not any(word.encode() in page for word in ("clip-", "votes.sqlite", str(a), str(b)))
    assert status(server, "docs") == 404


def test_votes_name_the_folders_that_were_heard(server: Server) -> None:
    rater, heard = server.enter("Gus"), []
    for trial in range(6):
        heard.append(tuple(map(side_of, server.encode_files(rater, trial))))
        server.ask(f"{rater}/{trial}", TIE)
    votes = [vote for vote in VoteFile(server.db).votes() if vote.rater == "Gus"]
    assert [(vote.heard.left, vote.heard.right) for vote in votes] == heard
    assert set(heard) >= {("a", "b"), ("b", "a")}


def test_the_file_goes_on_only_with_its_own_test(a: Path, b: Path, tmp_path: Path) -> None:
    progress: list[int] = []

    def opened(first: Path, second: Path, seed: int, repeats: int, identical: int) -> Plan:
        db = tmp_path / "votes.sqlite"
        return open_test(first, second, db, seed, repeats, identical, lambda *_: progress.append(1)).plan

    made = opened(a, b, 5, 2, 2)
    assert opened(a, b, 5, 2, 2) == made
    assert len(progress) == len(made.pairs)  # measured once
    with pytest.raises(DragonError, match="--seed 5, not 0"):
        opened(a, b, 0, 2, 2)
    with pytest.raises(DragonError, match="--repeats 2, not 1"):
        opened(a, b, 5, 1, 2)
    with pytest.raises(DragonError, match="test of other clips"):
        opened(b, a, 5, 2, 2)
    with pytest.raises(DragonError, match=r"\(3\) do not pair: give each the same prompts"):
        opened(a, folder(tmp_path / "three", 440, 0.3, pairs=3), 0, 2, 2)


def test_other_files_are_left_alone(a: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE letters (letter TEXT)")
    connection.close()
    before = other.read_bytes()
    with pytest.raises(DragonError, match="another program"):
        VoteFile(other)
    assert other.read_bytes() == before
    with pytest.raises(DragonError, match="not a database"):
        VoteFile(a / "prompts.csv")
    with pytest.raises(DragonError, match="unable to open"):
        VoteFile(tmp_path / "no" / "folder.sqlite")
