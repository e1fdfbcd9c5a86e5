"""Run the `dragon` command as `python -m dragon_train.cli`."""

from dragon_train.cli import main

main()
