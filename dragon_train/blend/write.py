"""Write what was measured of the blends of a run: a table, a figure, and a page that says what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.storage.files import write_csv, write_text
from dragon_rewards.storage.results import known
from dragon_train.bench.collateral import DENOISING
from dragon_train.blend.columns import HELDOUT, VARIETY
from dragon_train.blend.figure import write_fronts
from dragon_train.blend.fronts import main_columns, taxes_of

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from dragon_train.blend.plan import Plan

TABLE, FIGURE, PAGE = "blend", "blend.svg", "README.md"
DIGITS = ".6g"  # neighbours on a curve differ little
COSTS = {
    HELDOUT: "the mean win rate under {watched}, which the run did not maximise",
    VARIETY: "the Vendi score, how many different clips the clips amount to, by `{variety}`",
    DENOISING: "the error of the denoiser on real clips, with the same noise for every blend",
}
UNWATCHED = (
    f"- There is no `{HELDOUT}`: the run named no `heldout`, and no judge that is installed is held out from all that "
    "it maximised."
)
FILES = (
    f"[`{TABLE}.md`]({TABLE}.md) is the table, and [`{TABLE}.csv`]({TABLE}.csv) has every figure. `dominated_in` names "
    "the taxes in which another blend costs no more and has at least as much reward: leave such a blend. In the figure "
    "its marker is hollow, and the number beside a marker is the mean share."
)


def write_blends(out: Path, plan: Plan, table: pd.DataFrame, command: str) -> None:
    """Write blend.csv with every column, blend.md with the main ones, blend.svg, and README.md.

    Args:
        out: the folder.
        plan: what was measured.
        table: what `fronts.table_of` returned.
        command: the command line that wrote it.
    """
    write_csv(out / f"{TABLE}.csv", table)
    text = known(table[main_columns(table)]).to_markdown(index=False, floatfmt=DIGITS, missingval="")
    write_text(out / f"{TABLE}.md", f"{text}\n")
    write_fronts(out / FIGURE, table)
    write_text(out / PAGE, page(plan, table, command))


def page(plan: Plan, table: pd.DataFrame, command: str) -> str:
    """Return the page: the command, what the figures are, and how far they can be trusted."""
    parts = [
        f"# Blends of `{plan.run.name}`",
        f"```sh\n{command}\n```",
        compared(plan),
        "\n".join([gained(plan), *costs(plan, table)]),
        FILES,
        chosen(plan),
        f"![reward against each tax]({FIGURE})\n",
    ]
    return "\n\n".join(parts)


def compared(plan: Plan) -> str:
    """Return the sentences on what a blend is, and what it is compared with."""
    return (
        "A blend keeps a share of what the run changed in the weights: 0 is the untuned model, 1 the tuned one. Each "
        f"blend made a clip for each of {len(plan.prompts)} prompts to watch, from always the same seeds, and is "
        "compared with share 0."
    )


def gained(plan: Plan) -> str:
    """Return the line of the page on the columns of the reward."""
    return (
        f"- `reward`: how much more `{plan.reward.name}` has than the untuned model, in units of the spread that the "
        "untuned model's clips have; `win_rate`: how often it wins against the untuned model's clips."
    )


def costs(plan: Plan, table: pd.DataFrame) -> list[str]:
    """Return a line of the page on each tax that was measured, and one if none is by held-out rewards."""
    watched = " and ".join(f"`{reward.name}`" for reward in plan.watched)
    said = {tax: COSTS[tax].format(watched=watched, variety=plan.variety.name) for tax in taxes_of(table)}
    lines = [f"- `{tax}`: {words}." for tax, words in said.items()]
    return lines if watched else [*lines, UNWATCHED]


def chosen(plan: Plan) -> str:
    """Return the sentences on where the shares of the parts are from, and that they flatter."""
    if plan.parts == 1:
        return "All blocks of the denoiser have one share."
    return (
        f"In rows `per part`, the {plan.parts} parts of the denoiser have shares of their own: of all candidates with "
        "that mean share, the ones with the most reward. They were chosen by these very prompts, which flatters them: "
        "compare a blend that you save (`--save`) on other prompts."
    )
