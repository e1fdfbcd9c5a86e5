"""`python -m dragon_train.cli` is `dragon`."""

from dragon_train.cli import main

main()
