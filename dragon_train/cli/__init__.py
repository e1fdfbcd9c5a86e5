"""The `dragon` command with the trainer's verbs added: each verb is a module that adds itself to the app."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from dragon_rewards.cli import app
from dragon_rewards.cli.completion import bash_words
from dragon_rewards.cli.ending import heed_sigterm
from dragon_rewards.cli.output import results_alone
from dragon_train.console import is_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

VERBS = (
    "dragon_rewards.cli.listing",
    "dragon_rewards.cli.plugins",
    "dragon_rewards.cli.doctor",
    "dragon_rewards.cli.score",
    "dragon_rewards.cli.rank",
    "dragon_rewards.cli.compare",
    "dragon_rewards.cli.export_reward",
    "dragon_rewards.cli.serve",
    "dragon_rewards.cli.listen",
    "dragon_rewards.cli.remote",
    "dragon_rewards.cli.cache",
    "dragon_rewards.cli.exemplars",
    "dragon_train.cli.catalogues",
    "dragon_train.cli.sample",
    "dragon_train.cli.best_of",
    "dragon_train.cli.train",
    "dragon_train.cli.estimate",
    "dragon_train.cli.bench",
    "dragon_train.cli.report",
    "dragon_train.cli.ablate",
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
