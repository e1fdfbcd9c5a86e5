"""Names are identities: parsing and printing are inverse, malformed ones are refused with an example."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragon_rewards.errors import ComposeError
from dragon_rewards.names import NAME, RewardName

PART = st.from_regex(NAME, fullmatch=True)
NAMES = st.builds(RewardName, PART, PART, st.none() | PART)


@given(NAMES)
def test_parse_inverts_str(name: RewardName) -> None:
    assert RewardName.parse(str(name)) == name


@given(NAMES, NAMES)
def test_slugs_are_distinct_and_fit_for_files(one: RewardName, other: RewardName) -> None:
    assert (one.slug == other.slug) == (one == other)
    assert not set(one.slug) & set('/\\:*?"<>| ')


@given(st.text())
def test_any_text_parses_to_itself_or_is_refused(text: str) -> None:
    with suppress(ComposeError):
        assert str(RewardName.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "vendi", "vendi:", ":clap", "a:b:c", "a:b@", "a:b@c@d", "a@b", "a@b:c", "a:b@c\n", "a/b:c"]
)
def test_malformed_names_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ComposeError, match="as in 'per-song-fad"):
        RewardName.parse(text)


@pytest.mark.parametrize("part", ["Clap", "-a", "a b", "é", "", "a\n"])
def test_parts_are_checked_when_built_directly(part: str) -> None:
    with pytest.raises(ComposeError, match="is no name"):
        RewardName("vendi", part)
