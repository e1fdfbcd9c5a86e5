"""Two to four commands at once: what each says was done is there afterwards, or it was refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.faults import material
from support.faults.running import REFUSED
from support.faults.tally import Fate

if TYPE_CHECKING:
    from support.faults.forks import Done, Nursery
    from support.faults.tally import Tally

pytestmark = pytest.mark.slow

ROUNDS = 3
FACTS = {
    "name": "mert",
    "modalities": ["audio"],
    "dim": 8,
    "sample_rate": 8000,
    "licence": "MIT",
    "summary": "music",
    "identity": "mert-1",
    "package": "dragon-reward-mert",
    "version": "1.0",
}


def check_codes(ended: list[Done]) -> str:
    odd = [done for done in ended if done.code not in {0, REFUSED} or "Traceback" in done.err]
    return f"exit code {odd[0].code}: {odd[0].err[-600:]}" if odd else ""


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("known", [False, True], ids=["a new set", "a set that is there"])
def test_exemplars_added_at_once_are_all_kept(
    count: int, known: bool, tmp_path: Path, nursery: Nursery, tally: Callable[[str], Tally]
) -> None:
    counts = tally("together: exemplars add")
    names = "abcd"[:count]
    for attempt in range(ROUNDS):
        folder = tmp_path / str(attempt)
        for name in (*names, "z"):
            material.write_sounds(folder / name, name)
        if known:
            assert nursery.run(folder, "exemplars", "add", "mine", "z").code == 0
        ended = nursery.together(folder, [("exemplars", "add", "mine", name) for name in names])
        wanted = {f"{name}.wav" for name, done in zip(names, ended, strict=True) if done.code == 0}
        wanted |= {"z.wav"} if known else set()
        shown = nursery.run(folder, "exemplars", "show", "mine", "--json")
        found = {Path(item["path"]).name for item in json.loads(shown.out)["items"]} if shown.code == 0 else set()
        lost = f"lost {sorted(wanted - found)}" if not wanted <= found else ""
        wrong = check_codes(ended)
        counts.add(Fate.ESCAPED if wrong else Fate.LOST if lost else Fate.RECOMPUTED, wrong or lost, f"round {attempt}")
        checked = nursery.run(folder, "exemplars", "check", "mine")
        counts.add(Fate.RECOMPUTED if checked.code == 0 else Fate.LOST, "a broken set", checked.err[-600:])
    counts.check()


def test_servers_removed_at_once_are_all_forgotten(
    tmp_path: Path, nursery: Nursery, tally: Callable[[str], Tally]
) -> None:
    counts = tally("together: remote remove")
    urls = [f"http://127.0.0.1:{port}" for port in range(9001, 9005)]
    remotes = [{"url": url, "token": "env:NONE", "prefix": f"far{url[-1]}-", "encoders": [FACTS]} for url in urls]
    for attempt in range(ROUNDS):
        (tmp_path / "remotes.json").write_text(json.dumps(remotes), encoding="utf-8")
        ended = nursery.together(tmp_path, [("remote", "remove", url) for url in urls])
        kept = {row["url"] for row in json.loads(nursery.run(tmp_path, "remote", "list", "--json").out)}
        gone = {url for url, done in zip(urls, ended, strict=True) if done.code == 0}
        wrong, lost = check_codes(ended), f"there again: {sorted(kept & gone)}" if kept & gone else ""
        left = [
            path.name
            for path in tmp_path.iterdir()
            if path.is_file() and path.name != "remotes.json" and not path.name.endswith(".lock")
        ]
        lost = lost or (f"left behind {left}" if left else "")
        counts.add(Fate.ESCAPED if wrong else Fate.LOST if lost else Fate.RECOMPUTED, wrong or lost, f"round {attempt}")
    counts.check()


def test_scores_at_once_share_a_cache(tmp_path: Path, nursery: Nursery, tally: Callable[[str], Tally]) -> None:
    counts = tally("together: cache")
    material.write_sounds(tmp_path / "music")
    score = ("score", "per-song-fad:logmel@airs", "music", "--json")
    wanted = nursery.run(tmp_path, *score).out
    for attempt in range(ROUNDS):
        assert nursery.run(tmp_path, "cache", "clear").code == 0
        ended = nursery.together(tmp_path, [score] * 4)
        lost = "" if all(done.out == wanted for done in ended) else "other scores"
        left = [path.name for path in (tmp_path / "cache").rglob("*") if path.suffix == ".part"]
        lost = lost or (f"left behind {left}" if left else "")
        wrong = check_codes(ended)
        counts.add(Fate.ESCAPED if wrong else Fate.LOST if lost else Fate.RECOMPUTED, wrong or lost, f"round {attempt}")
    counts.check()
