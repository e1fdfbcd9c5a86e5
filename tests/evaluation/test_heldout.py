"""The held-out protocol: which rewards training never saw, and whose gains do not carry over."""

import pandas as pd
import pytest

from dragon_rewards.errors import ComposeError
from dragon_rewards.evaluation import carry_over, carry_over_summary, is_held_out, same_question

REWARDS = ["per-song-fad:clap@airs", "per-song-fad:vae@tunebook", "per-song-fad:vae@airs", "vendi:clap", "vendi:vae"]
RATES = {
    REWARDS[0]: [0.9, 0.4, 0.95, 0.5, 0.8],
    REWARDS[1]: [0.7, 0.9, 0.9, 0.5, 0.5],
    REWARDS[2]: [0.9, 0.9, 0.9, 0.9, 0.9],
    "vendi:clap": [0.5, 0.5, 0.5, 0.4, 0.6],
}


@pytest.mark.parametrize(
    ("judge", "expected"),
    [
        ("per-song-fad:vae@tunebook", True),
        ("dataset-fad:vae@tunebook-captions", True),
        ("vendi:vae", True),
        ("per-song-fad:clap@tunebook", False),  # the encoder
        ("per-song-fad:vae@airs", False),  # the exemplars
        ("per-song-fad:vae@airs-captions", False),  # of the same music
        ("clap-score:clap", False),
        ("per-song-fad:clap@airs", False),
    ],
)
def test_held_out_is_another_encoder_and_other_music(judge: str, expected: bool) -> None:
    assert is_held_out("per-song-fad:clap@airs", judge) is expected
    assert is_held_out(judge, "per-song-fad:clap@airs") is expected


def test_a_reward_without_exemplars_holds_out_by_encoder() -> None:
    assert is_held_out("vendi:clap", "per-song-fad:vae@airs")
    assert not same_question("vendi:clap", "per-song-fad:vae@airs")
    with pytest.raises(ComposeError, match="'vendi' is no reward"):
        is_held_out("vendi", "vendi:vae")


@pytest.fixture(name="compared")
def win_rates_of_every_run_under_every_reward() -> pd.DataFrame:
    rows = [
        {"run": run, "reward": reward, "win_rate": rate}
        for run, rates in RATES.items()
        for reward, rate in zip(REWARDS, rates, strict=True)
    ]
    return pd.DataFrame(rows)


def test_carry_over_of_each_run(compared: pd.DataFrame) -> None:
    carried = carry_over(compared, {run: run for run in RATES}).set_index("run")
    first = carried.loc[REWARDS[0]]
    assert first["target"] == 0.9
    assert first["heldout"] == pytest.approx((0.4 + 0.8) / 2)
    assert (first["judges"], first["same_question"], first["without_gain"]) == (2, 0.4, REWARDS[1])
    assert carried.loc[REWARDS[1], "without_gain"] == ""
    last = carried.loc[REWARDS[2]]
    assert last["judges"] == 1
    assert pd.isna(last["same_question"])


def test_the_summary_names_whose_gain_does_not_carry_over(compared: pd.DataFrame) -> None:
    served = {"first": REWARDS[0], "second": REWARDS[1], "third": REWARDS[2], "fourth": "vendi:clap"}
    renamed = compared.replace({"run": {reward: run for run, reward in served.items()}})
    text = carry_over_summary(carry_over(renamed, served))
    assert "held-out rewards of the same reduction: `first`." in text
    assert "for want of a held-out reward of the same reduction: `third`." in text
    assert "No gain on their own reward: `fourth`." in text
    assert "`second`" not in text


def test_nobody_is_named_where_all_carry_over() -> None:
    rewards = ["vendi:clap", "vendi:vae"]
    compared = pd.DataFrame({"run": "vendi:clap", "reward": rewards, "win_rate": [0.9, 0.8]})
    assert carry_over_summary(carry_over(compared, {"vendi:clap": "vendi:clap"})).count(": none.") == 3
