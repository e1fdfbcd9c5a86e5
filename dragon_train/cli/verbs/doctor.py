"""The verb `dragon doctor`: show on one page what this machine has and lacks, to read and to paste into a report."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from dragon_rewards.registry import load_registry
from dragon_rewards.terminal.printable import json_text
from dragon_train.cli.options import Json
from dragon_train.cli.printing import print_rows
from dragon_train.cli.verbs.cache import readable
from dragon_train.cli.verbs.plugins import all_failures, all_plugins
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dragon_rewards.doctor import Row
    from dragon_rewards.protocols import Weights

Part = tuple[str, str, "tuple[Weights, ...]"]  # what it is, its name, the weights that it needs

SIZES = ("free", "total", "bytes", "size")
LICENCE = {None: "unknown", True: "accept it first: https://huggingface.co/{}", False: "nothing to accept"}


def parts() -> Iterable[Part]:
    """Yield every encoder and every pipeline: what it is, its name, and the weights that it needs."""
    yield from (("encoder", info.name, info.weights) for info in load_registry().encoders.values())
    yield from (("pipeline", info.name, info.weights) for info in load_train_registry().pipelines.values())


def doctor(*, as_json: Json = False) -> None:
    """Show versions, devices, plugins, weights that are here or missing, heads, and caches; what is broken is named."""
    from dragon_rewards import doctor as found

    collectors: dict[str, Callable[[], Iterable[Row]]] = {
        "versions": found.versions,
        "devices": found.devices,
        "plugins": partial(found.plugins, all_plugins(), all_failures()),
        "weights": lambda: found.weights(parts()),
        "fitted and made": found.made,
        "caches": found.caches,
    }
    sections = {name: found.section(collect) for name, collect in collectors.items()}
    if as_json:
        print(json_text(sections))
        return
    for name, rows in sections.items():
        print(f"{name}\n")
        print_rows(list(map(_shown, rows)), as_json=False, wide=True)  # it is to be pasted whole
        print()


def _shown(row: Row) -> Row:
    """Return a row for people: sizes in four digits, answers in words, and of weights only what is to be done."""
    shown: dict[str, Any] = {key: _answer(key, value) for key, value in row.items() if key not in {"lacking", "folder"}}
    if "download" in row:
        shown["download"] = row["download"] or row["folder"]
        shown["gated"] = LICENCE[row["gated"]].format(row["weights"]) if row["weights"] else None
        shown["size"] = (shown["size"] or "unknown") if row["weights"] else None
        return {{"download": "where, or how to get it", "gated": "licence"}.get(key, key): shown[key] for key in shown}
    return shown | {key: row[key] for key in ("folder",) if key in row}


def _answer(key: str, value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return readable(value) if key in SIZES and value is not None else value
