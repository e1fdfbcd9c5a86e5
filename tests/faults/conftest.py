"""What the tests of a file share: a nursery, and folders of good files."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import pytest
from support.faults.forks import Nursery
from support.faults.trying import attempt
from support.faults.workshop import MAKERS
from vl_convert import javascript_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.faults.kinds import Kind
    from support.faults.tally import Tally
    from support.faults.trying import Try


BUNDLE = cache(javascript_bundle)


@pytest.fixture(scope="session", name="nursery")
def started_nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Forks commands as processes."""
    started = Nursery(tmp_path_factory.mktemp("nursery"))
    yield started
    started.close()


@pytest.fixture(scope="session", name="good")
def good_folders(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Callable[[str], Path]:
    """Folders of good files by the name of their maker, made when they are first asked for."""
    made: dict[str, Path] = {}

    def folder(maker: str) -> Path:
        if maker not in made:
            made[maker] = tmp_path_factory.mktemp(maker)
            MAKERS[maker](made[maker], nursery)
        return made[maker]

    return folder


@pytest.fixture(name="attempt")
def tried_kinds(
    good: Callable[[str], Path],
    nursery: Nursery,
    tally: Callable[[str], Tally],
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> Try:
    """Tries bad files of a kind, and fails with what escaped."""
    # What takes longer than reading, and has nothing to do with it: to count a run, to bundle the page's script.
    monkeypatch.setattr("dragon_train.estimate.fit.capacity", lambda _: None)
    monkeypatch.setattr("dragon_train.bench.report.render.javascript_bundle", BUNDLE)

    def attempted(kind: Kind) -> None:
        counts = tally(f"file: {kind.name}")
        more = replace(kind, tries=kind.tries * pytestconfig.getoption("--mutations"))
        attempt(more, good(kind.maker), nursery, counts, monkeypatch)
        counts.check()

    return attempted
