"""What published models are said to take of a card is what `dragon estimate` counts, and the cards have it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dragon_train.cli.verbs.listing import pipelines
from dragon_train.estimate.cards import cards, smallest
from dragon_train.models import models

ROOT = Path(__file__).parents[2]
STATED = {
    name: {"tune_gb": model.tune_gb, "sample_gb": model.sample_gb} for name, model in models().items() if model.tune_gb
}


RECOUNTED = ("stable-audio-3", "ace-step-turbo")  # two of the adapters; each takes a minute


@pytest.mark.slow
def test_what_is_stated_is_what_is_counted() -> None:
    command = [sys.executable, "-W", "ignore", "reports/guide/needs.py", *RECOUNTED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert tomllib.loads(done.stdout) == {name: STATED[name] for name in RECOUNTED}


def test_the_list_of_pipelines_names_the_smallest_card_that_has_it() -> None:
    rows = {row["name"]: row for row in pipelines()}
    for name, stated in STATED.items():
        assert stated["tune_gb"]
        assert {key: rows[name][key] for key in stated} == stated
        (memory,) = {cards()[card].memory for card in rows[name]["tune_on"]}
        assert memory == min(card.memory for card in cards().values() if card.memory >= stated["tune_gb"])
    embedded = rows["embedded"]
    assert (embedded["tune_gb"], embedded["tune_on"], embedded["sample_on"]) == (None, None, None)


def test_cards_of_equal_memory_are_all_named_and_none_where_none_is_enough() -> None:
    assert smallest(20) == ["l4", "rtx-4090"]
    assert smallest(24.1) == ["a100-40"]
    assert smallest(1000) == []
