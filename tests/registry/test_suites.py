"""Suites are data; a slot whose parts are missing is served by its stand-in, and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dragon_rewards.builtin import ENCODERS
from dragon_rewards.errors import ComposeError, ConfigError, UnknownNameError
from dragon_rewards.names import RewardName
from dragon_rewards.suites import Slot, Suite, builtin_suites, load_suite, serve

if TYPE_CHECKING:
    from pathlib import Path

    from dragon_rewards.registry import Registry

DRAGON20 = load_suite("dragon20")


def test_dragon20_has_twenty_distinct_rewards_of_the_papers_families() -> None:
    names = [RewardName.parse(slot.reward) for slot in DRAGON20.slots]
    assert len(set(names)) == 20
    reductions = [name.reduction for name in names]
    assert (reductions.count("per-song-fad"), reductions.count("dataset-fad")) == (8, 9)
    assert {"aesthetics", "clap-score", "vendi"} < set(reductions)


def test_dragon20_stands_in_with_embedded_encoders_only() -> None:
    embedded = {info.name for info in ENCODERS}
    for slot in DRAGON20.slots:
        assert RewardName.parse(slot.stand_in or slot.reward).encoder in embedded


def test_no_shipped_suite_tunes_toward_the_judge_that_ships() -> None:
    slots = [slot for suite in builtin_suites().values() for slot in suite.slots]
    names = {RewardName.parse(name) for slot in slots for name in (slot.reward, slot.stand_in) if name}
    assert {"clap", "vae"} <= {name.encoder for name in names}
    assert "spr" not in {name.encoder for name in names}


def test_dragon20_is_served_by_twenty_distinct_rewards() -> None:
    assert len({slot.stand_in or slot.reward for slot in DRAGON20.slots}) == 20


def test_a_slot_serves_itself_where_it_composes_and_its_stand_in_where_not(registry: Registry) -> None:
    suite = Suite("s", "", (Slot("vendi:ear", "vendi:two"), Slot("vendi:vggish", "vendi:two")))
    own, other = serve(suite, registry)
    assert (own.served, own.note) == ("vendi:ear", "")
    assert other.served == "vendi:two"
    assert other.note == (
        "vendi:two stands in for vendi:vggish: encoder 'vggish' is not installed; "
        "pip install ./plugins/dragon-reward-vggish"
    )


def test_a_slot_that_nothing_serves_is_refused(registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match="'vggish'"):
        serve(Suite("s", "", (Slot("vendi:vggish"),)), registry)
    with pytest.raises(ComposeError, match="'per-song-fad:ear' does not compose"):
        serve(Suite("s", "", (Slot("vendi:vggish", "per-song-fad:ear"),)), registry)


def test_a_persons_own_suite_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[mine]\nsummary = "two"\nslots = ["vendi:ear", { reward = "a:b", stand_in = "c:d@e" }]\n')
    assert load_suite(str(path)) == Suite("mine", "two", (Slot("vendi:ear"), Slot("a:b", "c:d@e")))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[mine", "Expected"),
        ("", "holds 0 suites"),
        ('[a]\nsummary=""\nslots=["a:b"]\n[b]\nsummary=""\nslots=["a:b"]', r"holds 2 suites \(a, b\)"),
        ("mine = 3", "suite 'mine' cannot be read .*got `int`.*; it is a table of 'summary', a text, and 'slots'"),
        ('[mine]\nsummary=""\nslots=["a:b"]\ncolour="red"', "suite 'mine' .*unknown field `colour`"),
        ('[mine]\nsummary=""\nslots=[]', "suite 'mine' .*length >= 1"),
        ('[mine]\nsummary=""\nslots="a:b"', r"suite 'mine' .*got `str` - at `\$.slots`"),
        ('[mine]\nsummary=3\nslots=["a:b"]', r"suite 'mine' .*got `int` - at `\$.summary`"),
        ('[mine]\nsummary=""\nslots=["vendi"]', "'vendi' is no reward"),
        ('[mine]\nsummary=""\nslots=[3]', r"suite 'mine' .*got `int` - at `\$.slots"),
        ('[mine]\nsummary=""\nslots=[{ stand_in = "a:b" }]', "suite 'mine' .*missing required field `reward`"),
        ('[mine]\nsummary=""\nslots=[{ reward = 3 }]', r"suite 'mine' .*got `int` - at `\$.slots"),
        ('[mine]\nsummary=""\nslots=["a:b", "a:b"]', "'a:b' is listed twice"),
    ],
)
def test_a_wrong_suite_is_refused_with_its_path(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"mine.toml.*{reason}"):
        load_suite(path)


def test_a_missing_file_and_an_unknown_suite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_suite(tmp_path / "none.toml")
    with pytest.raises(UnknownNameError, match="unknown suite 'dragon2'; did you mean dragon20"):
        load_suite("dragon2")
