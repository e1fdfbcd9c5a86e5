"""The `dragon` command, which lists all of its verbs by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dragon_train.cli.group import RefusingGroup
from dragon_train.cli.verbs import (
    ablate,
    bench,
    best_of,
    blend,
    cache,
    compare,
    doctor,
    estimate,
    exam,
    exemplars,
    export_reward,
    fit_preferences,
    fit_ratings,
    listen,
    listing,
    plugins,
    rank,
    rate_next,
    remote,
    report,
    sample,
    score,
    serve,
    train,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERBS: Mapping[str, Callable[..., Any]] = {
    "doctor": doctor.doctor,
    "score": score.score,
    "rank": rank.rank,
    "compare": compare.compare,
    "fit-ratings": fit_ratings.fit_ratings,
    "fit-preferences": fit_preferences.fit_preferences,
    "rate-next": rate_next.rate_next,
    "export-reward": export_reward.export_reward,
    "serve": serve.serve,
    "sample": sample.sample,
    "best-of": best_of.best_of,
    "train": train.train,
    "blend": blend.blend,
    "estimate": estimate.estimate,
    "exam": exam.exam,
    "bench": bench.bench,
    "report": report.report,
    "ablate": ablate.ablate,
}
GROUPS = {
    "list": listing.listing,
    "plugins": plugins.verbs,
    "listen": listen.listen,
    "remote": remote.remote,
    "cache": cache.verbs,
    "exemplars": exemplars.verbs,
}

app = typer.Typer(
    name="dragon",
    cls=RefusingGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Distributional rewards for media diffusion models: score, fine-tune, benchmark.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"dragon-rewards {version('dragon-rewards')}")
        raise typer.Exit


@app.callback()
def begin(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options that stand before every verb."""


for name, verb in VERBS.items():
    app.command(name)(verb)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)
