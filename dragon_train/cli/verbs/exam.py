"""The verb `dragon exam`: judge a finished run by what nothing was chosen by."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import to_builtins

from dragon_rewards.terminal.progress import progress
from dragon_rewards.weights import require_weights
from dragon_train.cli.device import chosen_device
from dragon_train.cli.options import Device, Json, PromptFile, Wide
from dragon_train.cli.printing import print_rows
from dragon_train.loop.run_folder import check_result, stored_config
from dragon_train.loop.start import start_of
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from dragon_train.bench.exam.record import Sitting


def exam(
    run: Annotated[Path, typer.Argument(help="Folder of a finished `dragon train`.")],
    prompts: PromptFile = None,
    device: Device = None,
    *,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Take the exam of a finished run: judges drawn by its weights, new prompts and seeds, the model's behaviour."""
    check_result(run)
    config = stored_config(run)
    start_of(run)
    info = load_train_registry().pipeline(config.pipeline)
    require_weights(f"pipeline '{info.name}'", info.weights)
    where = chosen_device(device)
    from dragon_train.bench.exam.questions import draw_judges, exam_prompts, weights_digest
    from dragon_train.bench.exam.record import add_sitting, read_sittings
    from dragon_train.bench.exam.sitting import Exam, last_watched

    digest, earlier, watch = weights_digest(run), read_sittings(run), last_watched(run)
    judges, texts = draw_judges(config, digest), exam_prompts(run, config, prompts)
    with progress("generating and judging", "models", 2) as bar:
        sitting = Exam(run, config, judges, texts, int(digest[:8], 16), watch).take(where, lambda: bar.advance(1))
    add_sitting(run, sitting)
    show(sitting, len(earlier) + 1, as_json=as_json, wide=wide)


def show(sitting: Sitting, number: int, *, as_json: bool, wide: bool) -> None:
    """Print a sitting: the judgements, the behaviour, and the summary."""
    if as_json:
        print_rows([{"sitting": number, "exam": sitting.exam, **to_builtins(sitting)}], as_json=True)
        return
    main = ("reward", "win_rate", "lower", "before", "after")
    print_rows(to_builtins(sitting.judgements), as_json=False, wide=wide, main=main)
    print()
    rows: list[dict[str, Any]] = [
        {"behaviour": name, "untuned": before, "tuned": after} for name, (before, after) in sitting.behaviour.items()
    ]
    print_rows(rows, as_json=False, wide=wide)
    print(f"\n{summary(sitting, number)}")


def summary(sitting: Sitting, number: int) -> str:
    """Say how the run did, against what watched it, and whether it had taken the exam before."""
    said = f"mean win rate under {len(sitting.judgements)} judges of the exam: {sitting.exam:.1%}"
    if sitting.watch is not None:
        said += f"; under the rewards that watched it: {sitting.watch:.1%}"
    return said if number == 1 else f"{said}. This is sitting {number}: the first one counts"
