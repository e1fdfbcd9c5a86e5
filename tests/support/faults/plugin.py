"""Options of the fault suite, and its table at the end of the tests.

pytest tests/faults -n0 --all-kills --fault-report reports/faults
"""

from __future__ import annotations

import csv
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.faults.tally import Tally

PROPERTY = "faults"
PAGE = """# Faults

```sh
{command}
```

{table}

- refused: exit code 2, and a line that names the file
- recomputed: the right result, as without the fault
- read: another file of its kind, which nothing can tell to be wrong, as it carries no checksum
- lost: what had been acknowledged is gone, or another result came out
- escaped: a traceback, another exit code, or a wrong result without a word
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options, which name what takes too long for every run."""
    group = parser.getgroup("faults")
    group.addoption("--all-kills", action="store_true", help="Kill at every event of a command, not at a sample.")
    group.addoption("--mutations", type=int, default=1, metavar="N", help="Try N times as many bad files of each kind.")
    group.addoption(
        "--fault-report", type=Path, metavar="FOLDER", help="Write the table of faults there, as CSV and Markdown."
    )


@pytest.fixture(name="tally")
def counted_faults(record_property: Callable[[str, object], None]) -> Iterator[Callable[[str], Tally]]:
    """Makes the tallies of a test, whose rows go into the table, whatever becomes of the test."""
    from support.faults.tally import Tally

    made: list[Tally] = []

    def make(kind: str) -> Tally:
        made.append(Tally(kind))
        return made[-1]

    yield make
    for each in made:
        record_property(PROPERTY, each.row)


def rows_of(reporter: pytest.TerminalReporter) -> list[dict[str, str | int]]:
    """The rows of all tests, sorted, and their sum; none if no test counted."""
    reports = [report for kind in ("passed", "failed", "") for report in reporter.stats.get(kind, [])]
    ended = [report for report in reports if getattr(report, "when", "") == "teardown"]
    found = [row for report in ended for name, row in report.user_properties if name == PROPERTY]
    rows: dict[str, dict[str, str | int]] = {}
    for row in found:
        kept = rows.setdefault(str(row["kind"]), dict.fromkeys(row, 0))
        rows[str(row["kind"])] = {key: value if key == "kind" else kept[key] + value for key, value in row.items()}
    if not rows:
        return []
    numbers = [key for key in found[0] if key != "kind"]
    total: dict[str, str | int] = {
        "kind": "all",
        **{key: sum(int(row[key]) for row in rows.values()) for key in numbers},
    }
    return [*(rows[kind] for kind in sorted(rows)), total]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints what became of the faults, and writes it where it is wanted."""
    from tabulate import tabulate

    rows = rows_of(terminalreporter)
    if not rows:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(tabulate(rows, headers="keys"))
    folder = config.getoption("--fault-report")
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "faults.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        command = shlex.join(["pytest", *sys.argv[1:]])
        table = tabulate(rows, headers="keys", tablefmt="github")
        (folder / "faults.md").write_text(PAGE.format(command=command, table=table), encoding="utf-8")
