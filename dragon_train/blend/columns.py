"""The columns of a table of blends: which there are, which way is better, and what a reader calls them."""

from __future__ import annotations

from dragon_train.bench.collateral import DENOISING

KIND, SHARE, PART = "kind", "share", "part"  # how shares are given; their mean; before the number of a part
REWARD, WIN_RATE = "reward", "win_rate"  # what the run maximised
HELDOUT, VARIETY = "heldout_win_rate", "vendi"
DOMINATED = "dominated_in"
TAXES = {HELDOUT: 1.0, VARIETY: 1.0, DENOISING: -1.0}  # what tuning may cost: 1 where more is better, -1 where less is
WORDS = {
    REWARD: "gain of the reward, in spreads of the untuned model",
    HELDOUT: "held-out win rate",
    VARIETY: "Vendi score",
    DENOISING: "denoising error on real clips",
}
