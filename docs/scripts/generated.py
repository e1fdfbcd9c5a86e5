"""What pages show of the program itself and of its records: lists, tables and figures, made anew at every build.

    python docs/scripts/generated.py      # writes the generated blocks of README.md afresh

A generated block stands between `<!-- generated:NAME -->` and `<!-- /generated -->`. Pages of the site are filled when
the site is built; the README, which is read as it stands, holds its blocks, and a test compares them.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards.names import RewardName
from dragon_rewards.registry import load_registry
from dragon_rewards.suites import load_suite
from dragon_train.bench.headline import ALL, sentences
from dragon_train.bench.judges import COLUMN
from dragon_train.bench.seeds import PREFIX
from dragon_train.cli.verbs import listing

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_rewards.suites import Slot

ROOT = Path(__file__).parents[2]
README, REPORTS = ROOT / "README.md", ROOT / "reports"
GENERATED = re.compile(r"(<!-- generated:([a-z0-9-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)
AGAINST = re.compile(r"^\*\*Against the paper\.\*\* (.+?)\n\n", re.DOTALL | re.MULTILINE)
RESULT_COLUMNS = ["run", "win_rate", "win_rate_sd", "heldout", "musicnn", "share", "adherence", "change", "change_sd"]
BOOKKEEPING = {"seed", "steps", "minutes", "batch"}
JUDGES = {
    "instance": "a clip",
    "instance-to-distribution": "a clip against a set",
    "distribution-to-distribution": "a whole set of clips",
}


def filled(page: str) -> str:
    """Return the page with every generated block made anew."""
    return GENERATED.sub(lambda found: f"{found[1]}\n{MAKERS[found[2]]()}\n\n{found[3]}", page)


def table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """Return rows as a Markdown table of these columns."""
    return pd.DataFrame(rows, columns=columns).map(_cell).to_markdown(index=False)


def _cell(value: Any) -> object:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if pd.isna(value) else value


def encoders() -> str:
    """Return what `dragon list encoders` shows."""
    return table(listing.encoders(), ["name", "modalities", "dim", "summary"])


def reductions() -> str:
    """Return what `dragon list reductions` shows."""
    return table(listing.reductions(), ["name", "kind", "direction", "summary"])


def exemplar_sets() -> str:
    """Return what `dragon list exemplar-sets` shows."""
    return table(listing.exemplar_sets(), ["name", "modality", "count", "summary"])


def pipelines() -> str:
    """Return what `dragon list pipelines` shows."""
    return table(listing.pipelines(), ["name", "licence", "tune_gb", "tune_on", "sample_gb", "sample_on", "summary"])


def adapters() -> str:
    """Return what `dragon list adapters` shows."""
    return table(listing.adapters(), ["pipeline_class", "summary"])


def objectives() -> str:
    """Return what `dragon list objectives` shows."""
    return table(listing.objectives(), ["name", "summary", "options"])


def dragon20() -> str:
    """Return the slots of the suite."""
    slots = load_suite("dragon20").slots
    rows = [_slot_row(number, slot) for number, slot in enumerate(slots, 1)]
    return table(rows, ["slot", "reward", "judges", "better", "stand-in"])


def _slot_row(number: int, slot: Slot) -> dict[str, Any]:
    """Return the facts of a slot's reduction, or of the stand-in's where its own is not built in."""
    known = load_registry().reductions
    names = [RewardName.parse(name).reduction for name in (slot.reward, slot.stand_in) if name]
    info = next(known[name] for name in names if name in known)
    return {
        "slot": number,
        "reward": f"`{slot.reward}`",
        "judges": JUDGES[info.kind],
        "better": info.direction,
        "stand-in": f"`{slot.stand_in}`" if slot.stand_in else "",
    }


def embedded() -> str:
    """Return the figures that the training scripts wrote, without how long they took."""
    reports = sorted((REPORTS / "embedded").glob("*.json"))
    return "\n".join(f"- **{path.stem}**: {_figures(json.loads(path.read_text(encoding='utf-8')))}" for path in reports)


def _figures(report: dict[str, Any]) -> str:
    return "; ".join(_figure(key, value) for key, value in report.items() if key not in BOOKKEEPING)


def _figure(key: str, value: object) -> str:
    shown = f"({', '.join(_figure(*item) for item in value.items())})" if isinstance(value, dict) else f"{value}"
    return f"{key.replace('_', ' ')} {shown}"


def cost() -> str:
    """Return the table that reports/benchmarks/growth.py wrote."""
    return (REPORTS / "benchmarks" / "growth.md").read_text(encoding="utf-8").strip()


def many_files() -> str:
    """Return the table that reports/benchmarks/many_files.py wrote."""
    return (REPORTS / "benchmarks" / "many_files.md").read_text(encoding="utf-8").strip()


def seeds(preset: str = "quick") -> pd.DataFrame:
    """Return the table over the seeds of the committed benchmark of a preset, with the reward that served each run."""
    folder = REPORTS / f"bench-{preset}"
    of_one = pd.read_csv(next(folder.glob(f"{PREFIX}*")) / "win_rates.csv")
    return pd.read_csv(folder / "seeds.csv").merge(of_one[["run", "served"]], on="run")


def headline() -> str:
    """Return the means over all rewards of the committed benchmark, a line each."""
    return _of_all("quick")


def dpo() -> str:
    """Return the means over all rewards of the committed benchmark of the paper's method, a line each."""
    return _of_all("dpo")


def _of_all(preset: str) -> str:
    table = _headline(preset)
    return _lines(table[table["rewards"] == ALL])


def results() -> str:
    """Return the headline of the committed benchmark, what the rewards of `robust` came to, and the table of all."""
    rows = seeds()[RESULT_COLUMNS].to_markdown(index=False, floatfmt=".3g")
    return "\n\n".join([_lines(_headline("quick")), _robust(), rows])


def _headline(preset: str) -> pd.DataFrame:
    return pd.read_csv(REPORTS / f"bench-{preset}" / "headline.csv")


def _lines(table: pd.DataFrame) -> str:
    return "\n".join(f"- {sentence[0].upper()}{sentence[1:]}." for sentence in sentences(table))


def _robust() -> str:
    names = {slot.reward for slot in load_suite("robust").slots}
    rows = seeds()
    means = rows[rows["served"].isin(names)][["win_rate", "heldout", COLUMN]].mean()
    return (
        f"The {len(names)} rewards of the suite `robust` have a win rate of {means['win_rate']:.1%} under the own "
        f"reward, {means['heldout']:.1%} under held-out rewards and {means[COLUMN]:.1%} under {COLUMN}."
    )


def against_the_paper() -> str:
    """Return what the page of each ablation says of the paper's finding, under the question that it asks."""
    pages = {
        path.parent.name: path.read_text(encoding="utf-8") for path in sorted(REPORTS.glob("ablations/*/README.md"))
    }
    said = {name: AGAINST.search(page) for name, page in pages.items()}
    return "\n\n".join(
        f"### [{pages[name].splitlines()[0].removeprefix('# ')}](../reports/ablations/{name}/README.md)\n\n{found[1]}"
        for name, found in said.items()
        if found
    )


def guide_table(name: str, folder: str = "guide") -> str:
    """Return a table that a script of reports/guide, or of another folder of records, wrote."""
    return (REPORTS / folder / f"{name}.md").read_text(encoding="utf-8").strip()


def adapter_example() -> str:
    """Return the module of a plugin that adapts a pipeline."""
    module = ROOT / "plugins" / "dragon-stable-diffusion" / "dragon_stable_diffusion_policy.py"
    return f"```python\n{module.read_text(encoding='utf-8')}```"


MAKERS: dict[str, Callable[[], str]] = {
    "adapter-example": adapter_example,
    "adapters": adapters,
    "against-the-paper": against_the_paper,
    "cost": cost,
    "many-files": many_files,
    "dpo": dpo,
    "dragon20": dragon20,
    "embedded": embedded,
    "encoders": encoders,
    "exemplar-sets": exemplar_sets,
    "headline": headline,
    "objectives": objectives,
    "pipelines": pipelines,
    "reductions": reductions,
    "results": results,
    "estimate": lambda: guide_table("estimate"),
    "musicnn-agreement": lambda: guide_table("agreement", "musicnn"),
    "musicnn-damages": lambda: guide_table("damages", "musicnn"),
    "musicnn-ranking": lambda: guide_table("ranking", "musicnn"),
    "memory": lambda: guide_table("memory"),
    "scoring": lambda: guide_table("scoring"),
    "set-size": lambda: guide_table("set_size"),
    "tuned": lambda: guide_table("tuned"),
}

if __name__ == "__main__":
    os.environ["DRAGON_EXEMPLARS"] = os.environ["DRAGON_HEADS"] = "no such folder"  # the page lists what everyone has
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
