"""The README's blocks: those that are generated, and those that are run.

python tests/support/readme.py      # writes the generated blocks afresh

A generated block stands between `<!-- generated:NAME -->` and `<!-- /generated -->`. Of the others, shell and Python
blocks are run in the order of the page, unless the line above says `<!-- not run: WHY -->`; a block below
`<!-- file: PATH -->` is the content of that file.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import typer.main

from dragon_rewards.names import RewardName
from dragon_rewards.registry import load_registry
from dragon_rewards.suites import load_suite
from dragon_train.bench.tables import summary
from dragon_train.cli.app import app
from dragon_train.cli.verbs import listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dragon_rewards.suites import Slot

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
GENERATED = re.compile(r"(<!-- generated:([a-z0-9-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)
FENCED = re.compile(
    r"(?:<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
RESULT_COLUMNS = ["run", "served", "direction", "before", "after", "win_rate", "lower", "trials"]
BOOKKEEPING = {"seed", "steps", "minutes", "batch"}
SHOWN = {
    "encoders": ["name", "modalities", "dim", "summary"],
    "exemplar-sets": ["name", "modality", "count", "summary"],
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the HTML comment above it."""

    language: str
    text: str
    mark: str

    @property
    def file(self) -> str | None:
        """The path of the file whose content it is."""
        return self.mark.removeprefix("file: ") if self.mark.startswith("file: ") else None

    @property
    def is_run(self) -> bool:
        """Whether the tests run it."""
        return self.language in {"sh", "python"} and not self.mark.startswith(("not run: ", "file: "))


def blocks(page: str) -> list[Block]:
    """All fenced blocks, in order."""
    return [Block(found["language"], found["text"], found["mark"] or "") for found in FENCED.finditer(page)]


def fresh(page: str) -> str:
    """The page with every generated block made anew."""
    return GENERATED.sub(lambda found: f"{found[1]}\n{MAKERS[found[2]]()}\n\n{found[3]}", page)


def table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """Rows as Markdown."""
    return pd.DataFrame(rows, columns=columns).map(_cell).to_markdown(index=False)


def _cell(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def commands() -> str:
    """Usage and first line of help of every verb."""
    # Sorted, as verbs stand in the order in which somebody imported them.
    lines = sorted(_usages(typer.main.get_command(app), "dragon"))
    width = max(len(usage) for usage, _ in lines)
    return "\n".join(["```", *(f"{usage:{width}}  {text}" for usage, text in lines), "```"])


def _usages(command: Any, path: str) -> Iterator[tuple[str, str]]:
    children = getattr(command, "commands", {})
    for name, child in children.items():
        yield from _usages(child, f"{path} {name}")
    if not children:
        arguments = [_usage(parameter) for parameter in command.params if parameter.param_type_name == "argument"]
        yield " ".join([path, *arguments]), command.help.splitlines()[0]


def _usage(argument: Any) -> str:
    shown = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return shown if argument.required else f"[{shown}]"


def encoders() -> str:
    """What `dragon list encoders` shows."""
    return table(listing.encoders(), SHOWN["encoders"])


def exemplar_sets() -> str:
    """What `dragon list exemplar-sets` shows."""
    return table(listing.exemplar_sets(), SHOWN["exemplar-sets"])


def adapters() -> str:
    """What `dragon list adapters` shows."""
    return table(listing.adapters(), ["pipeline_class", "summary"])


def objectives() -> str:
    """What `dragon list objectives` shows."""
    return table(listing.objectives(), ["name", "summary"])


def dragon20() -> str:
    """The slots of the suite."""
    slots = load_suite("dragon20").slots
    rows = [_slot_row(number, slot) for number, slot in enumerate(slots, 1)]
    return table(rows, ["", "reward", "judges", "better", "stand-in"])


def _slot_row(number: int, slot: Slot) -> dict[str, Any]:
    """Facts of the reduction; the stand-in's where the slot's own is not built in."""
    known = load_registry().reductions
    names = [RewardName.parse(name).reduction for name in (slot.reward, slot.stand_in) if name]
    info = next(known[name] for name in names if name in known)
    kinds = {
        "instance": "a clip",
        "instance-to-distribution": "a clip against a set",
        "distribution-to-distribution": "a whole set of clips",
    }
    return {
        "": number,
        "reward": f"`{slot.reward}`",
        "judges": kinds[info.kind],
        "better": info.direction,
        "stand-in": f"`{slot.stand_in}`" if slot.stand_in else "",
    }


def embedded() -> str:
    """The figures that the training scripts wrote, without how long they took."""
    reports = sorted((ROOT / "reports" / "embedded").glob("*.json"))
    return "\n".join(f"- **{path.stem}**: {_figures(json.loads(path.read_text(encoding='utf-8')))}" for path in reports)


def _figures(report: dict[str, Any]) -> str:
    return "; ".join(_figure(key, value) for key, value in report.items() if key not in BOOKKEEPING)


def _figure(key: str, value: object) -> str:
    shown = f"({', '.join(_figure(*item) for item in value.items())})" if isinstance(value, dict) else f"{value}"
    return f"{key.replace('_', ' ')} {shown}"


def cost() -> str:
    """The table that reports/benchmarks/growth.py wrote."""
    return (ROOT / "reports" / "benchmarks" / "growth.md").read_text(encoding="utf-8").strip()


def results() -> str:
    """Win rates of the committed benchmark runs."""
    tables = [(preset, ROOT / "reports" / f"bench-{preset}" / "win_rates.csv") for preset in ("quick", "full")]
    found = [_result(preset, pd.read_csv(path)) for preset, path in tables if path.exists()]
    return "\n\n".join(found) or "No run is committed yet."


def _result(preset: str, wins: pd.DataFrame) -> str:
    rows = wins[RESULT_COLUMNS].to_markdown(index=False, floatfmt=".3g")
    command = f"`dragon bench --preset {preset} --out reports/bench-{preset}`"
    return f"### Preset {preset}\n\n{command}\n\n{summary(wins)}\n\n{rows}"


MAKERS = {
    "commands": commands,
    "encoders": encoders,
    "exemplar-sets": exemplar_sets,
    "adapters": adapters,
    "objectives": objectives,
    "dragon20": dragon20,
    "embedded": embedded,
    "cost": cost,
    "results": results,
}

if __name__ == "__main__":
    os.environ["DRAGON_EXEMPLARS"] = "no such folder"  # the page lists what everyone has
    README.write_text(fresh(README.read_text(encoding="utf-8")), encoding="utf-8")
