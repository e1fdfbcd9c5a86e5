"""`python -m dragon_train` is `dragon train`, in the form that `accelerate launch -m dragon_train` starts."""

from __future__ import annotations

import sys

from dragon_train.cli import main

main(["train", *sys.argv[1:]])
