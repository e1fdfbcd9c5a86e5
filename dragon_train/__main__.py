"""`python -m dragon_train` is `dragon train`, in the form that `accelerate launch -m dragon_train` starts."""

from __future__ import annotations

import sys

from dragon_rewards.cli import app
from dragon_rewards.cli.output import results_alone
from dragon_train.cli import load_verbs

with results_alone():
    load_verbs()
    app(["train", *sys.argv[1:]])
