"""The `dragon` command with the trainer's verbs added: each verb is a module that adds itself to the app."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from dragon_train.cli.app import app
from dragon_train.cli.exits import heed_sigterm
from dragon_train.cli.names import bash_words
from dragon_train.cli.output import results_alone
from dragon_train.loop.ranks import is_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

VERBS = (
    "dragon_train.cli.verbs.listing",
    "dragon_train.cli.verbs.plugins",
    "dragon_train.cli.verbs.doctor",
    "dragon_train.cli.verbs.score",
    "dragon_train.cli.verbs.rank",
    "dragon_train.cli.verbs.compare",
    "dragon_train.cli.verbs.export_reward",
    "dragon_train.cli.verbs.serve",
    "dragon_train.cli.verbs.listen",
    "dragon_train.cli.verbs.remote",
    "dragon_train.cli.verbs.cache",
    "dragon_train.cli.verbs.exemplars",
    "dragon_train.cli.verbs.catalogues",
    "dragon_train.cli.verbs.sample",
    "dragon_train.cli.verbs.best_of",
    "dragon_train.cli.verbs.train",
    "dragon_train.cli.verbs.estimate",
    "dragon_train.cli.verbs.bench",
    "dragon_train.cli.verbs.report",
    "dragon_train.cli.verbs.ablate",
)


def load_verbs() -> None:
    """Let every verb add itself."""
    for verb in VERBS:
        import_module(verb)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `dragon` with these arguments, by default those of the process."""
    if is_alone():  # of several processes that train together each waits for others, and would not hear
        heed_sigterm()
    with results_alone(), bash_words():
        load_verbs()
        app(arguments)
