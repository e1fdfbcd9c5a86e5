"""The verbs `dragon listen`: a blind listening test of two folders, or of a run, and what came of it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dragon_rewards.errors import DragonError
from dragon_rewards.terminal.printable import counted, json_text
from dragon_rewards.terminal.progress import progress
from dragon_train.cli.device import chosen_device
from dragon_train.cli.files import check_csv, write_csv
from dragon_train.cli.http import address, bound, run
from dragon_train.cli.options import PROMPTS, Device, Json, Port, Wide, seed_option
from dragon_train.cli.printing import print_rows

if TYPE_CHECKING:
    from dragon_rewards.evaluation.listening.results import Report
    from dragon_rewards.evaluation.listening.setup import ListeningTest

listen = typer.Typer(
    no_args_is_help=True, help="Let people compare two folders of clips, or a run with the untuned model, blind."
)

A = Annotated[
    Path, typer.Argument(help="Folder of audio files, with their prompts beside them if they have some; or of a run.")
]
B = Annotated[
    Path | None, typer.Argument(help="The other folder; none for a run: its untuned model is A, B the tuned.")
]
Prompts = Annotated[
    Path | None,
    typer.Option(help=f"{PROMPTS}, that names the clips (default: what lies beside them); of a run, to make them of."),
]
Pairs = Annotated[int | None, typer.Option(min=1, help="Pairs of clips that a run makes, once; default 16.")]
Db = Annotated[Path, typer.Option(help="SQLite file of the plan and the votes; an existing one goes on.")]
Seed = Annotated[int, seed_option("Seed of the order and the sides.")]
Repeats = Annotated[int, typer.Option(min=0, help="Pairs that each rater hears again, sides swapped, unannounced.")]
Identical = Annotated[int, typer.Option(min=0, help="Pairs with the same clip on both sides, unannounced.")]
Title = Annotated[str, typer.Option(help="Heading of the page.")]
NO_RUN = "'{}' is no folder of a `dragon train` run: give one, or two folders of clips"
DB, TITLE, PAIRS = Path("votes.sqlite"), "Listening test", 16
NOTES = """\
a win is B's, a tie counts half; lower, p value and posterior take votes as independent; low and high are the 95%
interval that takes all votes on a prompt as one draw; alpha is agreement, 1 full, 0 chance
consistent: repeats answered as before; equal: identical pairs called equal; left: choices of the left side
hasty: votes that came sooner than both sounds can be heard to the end (0 too in files that hold no lengths)
careless: of at least two repeats, or of at least two identical pairs, fewer than half answered so; or a hasty vote"""


@listen.command()
def serve(
    a: A,
    b: B = None,
    prompts: Prompts = None,
    pairs: Pairs = None,
    db: Db = DB,
    seed: Seed = 0,
    repeats: Repeats = 2,
    identical: Identical = 2,
    title: Title = TITLE,
    device: Device = None,
    host: Annotated[str, typer.Option(help="Address to listen on; whoever reaches it may vote.")] = "127.0.0.1",
    port: Port = 8766,
) -> None:
    """Serve the test to raters, until interrupted; the same command goes on with the votes of --db."""
    try:
        from dragon_rewards.evaluation.listening.server import build_app
    except ModuleNotFoundError as error:
        raise DragonError(f"`dragon listen serve` needs {error.name}: pip install 'dragon-rewards[serve]'") from error
    # Votes are guarded by nothing: raters are strangers to each other, and have no token before they come.
    with bound(host, port, guarded=True) as listener:
        test = _opened(a, b, prompts, pairs, db, seed, repeats, identical, device)
        listener.listen()
        print(
            f"{counted(test.plan.length, 'trial')} for each rater at http://{address(listener)}",
            file=sys.stderr,
            flush=True,
        )
        run(build_app(test, title), listener)


@listen.command()
def page(
    a: A,
    b: B = None,
    *,
    out: Annotated[Path, typer.Option(help="The HTML file to write.")],
    prompts: Prompts = None,
    pairs: Pairs = None,
    db: Db = DB,
    seed: Seed = 0,
    repeats: Repeats = 2,
    identical: Identical = 2,
    title: Title = TITLE,
    device: Device = None,
) -> None:
    """Write the test as one HTML file; its votes are downloaded as JSON, and reported together with --db."""
    from dragon_rewards.storage.files import check_file, write_text

    check_file(out, "--out")
    test = _opened(a, b, prompts, pairs, db, seed, repeats, identical, device)
    from dragon_rewards.evaluation.listening.page import render_page  # imports torch: a wrong folder is refused by now

    write_text(out, render_page(test, title))
    print(
        f"{out}: {counted(test.plan.length, 'trial')} for each rater, {out.stat().st_size / 2**20:.1f} MiB",
        file=sys.stderr,
    )


@listen.command()
def report(
    votes: Annotated[list[Path], typer.Argument(help="The SQLite file, and JSON files that pages downloaded.")],
    csv: Annotated[
        Path | None,
        typer.Option(help="Write every vote, with what was judged, to this CSV file, which `fit-preferences` takes."),
    ] = None,
    *,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Show how often B was preferred, how surely, by rater and by prompt, and who was careless."""
    check_csv(csv, "kind")
    from dragon_rewards.evaluation.listening.results import read_votes, vote_rows
    from dragon_rewards.evaluation.listening.results import report as report_votes

    plan, cast = read_votes(votes)
    made = report_votes(plan, cast)
    _print(made, as_json=as_json, wide=wide)
    write_csv(csv, vote_rows(plan, cast))


def _opened(
    a: Path,
    b: Path | None,
    prompts: Path | None,
    pairs: int | None,
    db: Path,
    seed: int,
    repeats: int,
    identical: int,
    device: str | None,
) -> ListeningTest:
    """Open the test of two folders, or of what `a` alone stands for, whose clips are made when all else is checked."""
    if b is None and not a.is_dir():
        raise DragonError(NO_RUN.format(a))
    from dragon_rewards.evaluation.listening.setup import check_test, open_test
    from dragon_rewards.storage.files import check_file

    check_file(db, "--db")
    if b is None:
        check_test(db, seed, repeats, identical, pairs or PAIRS)
        a, b = _sides(a, pairs or PAIRS, prompts, device)
        prompts = None  # the clips have them beside them
    elif pairs or device:
        given = "--pairs" if pairs else "--device"
        raise DragonError(f"{given} is for a run, which makes the clips; of two folders all are heard")
    with progress("measuring", "pairs") as bar:
        return open_test(a, b, db, seed, repeats, identical, bar.advance, prompts)


def _sides(path: Path, count: int, prompts: Path | None, device: str | None) -> tuple[Path, Path]:
    """Return the folders of clips that the untuned and the tuned model of a run make; prompts by default held-out."""
    from dragon_train.bench.record import holds_results

    if not holds_results(path):
        raise DragonError(NO_RUN.format(path))
    from dragon_train.bench.report.folders import run_folders  # imports torch

    return run_folders(path, count, chosen_device(device), prompts)


def _print(made: Report, *, as_json: bool, wide: bool) -> None:
    if as_json:
        print(json_text(asdict(made)))
        return
    print(NOTES, file=sys.stderr)
    for rows in (made.overall, made.raters, made.prompts):
        print_rows(rows, as_json=False, wide=wide)
        print()
