"""Times what fifty installed plugins add to the commands that load them.

python reports/benchmarks/registry_speed.py       # about 3 minutes on two cores, half of it pip

Two environments see the packages of this one; into one of them pip installs fifty plugins of one small module each. The
commands take turns, so that whatever else the machine does falls on all of them alike. (`registry.py` would be the name
of a package of tests too, which mypy refuses.)
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from run import machine

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))  # tests make such environments too

from support.environments import Environment, Package  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGINS = 50
ROUNDS = 31
SOURCE = '''"""An encoder."""

from dragon_rewards import EncoderInfo, Modality, hookimpl


@hookimpl
def register_encoders(register):
    register(EncoderInfo("small-{number}", frozenset({{Modality.AUDIO}}), 8, 16_000, "MIT", "a small one", object))
'''
SMALL = [Package(f"dragon-reward-small-{number}", SOURCE.format(number=number)) for number in range(PLUGINS)]
PLAIN = "python -c pass"
COMMON = "python: what each module imports"
MODULES = "python: the modules"
COMMANDS = {
    PLAIN: ["-c", "pass"],
    COMMON: ["-c", "from dragon_rewards import EncoderInfo, Modality, hookimpl"],
    MODULES: ["-c", f"import {', '.join(package.module for package in SMALL)}"],
    "dragon list encoders --json": ["-m", "dragon_train.cli", "list", "encoders", "--json"],
    "dragon list encoders": ["-m", "dragon_train.cli", "list", "encoders"],
    "dragon --help": ["-m", "dragon_train.cli", "--help"],
}


def timed(command: list[str]) -> dict[str, float]:
    """Milliseconds by the clock, and of the processor, which other work on the machine lengthens less."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603
    _, status, used = os.wait4(process.pid, 0)
    taken = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {"clock": 1000 * taken, "processor": 1000 * (used.ru_utime + used.ru_stime)}


def medians(environments: dict[str, Environment]) -> dict[tuple[str, str], dict[str, float]]:
    """(command, environment) -> median milliseconds by the clock and of the processor."""
    runs: dict[tuple[str, str], list[dict[str, float]]] = {
        (command, name): []
        for command in COMMANDS
        for name in environments
        if command != MODULES or name == "fifty"  # elsewhere they are not installed
    }
    for _ in range(ROUNDS):
        for (command, name), times in runs.items():
            times.append(timed([environments[name].python, *COMMANDS[command]]))
    return {
        job: {measure: statistics.median(run[measure] for run in times) for measure in times[0]}
        for job, times in runs.items()
    }


def rows(found: dict[tuple[str, str], dict[str, float]]) -> Iterator[dict[str, str | float]]:
    """What fifty plugins add to each command; of the modules, what importing them adds to an empty program."""
    for command in COMMANDS:
        without = found[PLAIN, "fifty"] if command == MODULES else found[command, "none"]
        row: dict[str, str | float] = {"command": command}
        for measure, taken in found[command, "fifty"].items():
            row |= {f"none, {measure}": without[measure], f"fifty, {measure}": taken}
            row[f"added, {measure}"] = taken - without[measure]
        yield row


def main() -> None:
    """Write `registry.md`."""
    with tempfile.TemporaryDirectory() as folder:
        environments = {name: Environment.create(Path(folder, name)) for name in ("none", "fifty")}
        environments["fifty"].install(SMALL, Path(folder, "sources"))
        found = pd.DataFrame(rows(medians(environments)))
    about = f"Median ms of {ROUNDS} runs without plugins, with {PLUGINS}, and what these add (`{Path(__file__).name}`)."
    load = f"{os.getloadavg()[0]:.0f} other and own processes on average wanted the cores meanwhile."
    parts = [machine("cpu"), f"{about} {load}", found.to_markdown(index=False, floatfmt=".1f")]
    (HERE / "registry.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
