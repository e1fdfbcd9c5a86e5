"""Counts what every metric asks of an accelerator, on the second device of the tests: counts.md.

PYTHONPATH=tests python reports/benchmarks/counts.py    # needs a C++ compiler; 2 minutes

That device computes as the CPU does, so its times say nothing; it takes the same forms as any accelerator.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from cases import CASES
from support.devices.second_device import counted, install

if TYPE_CHECKING:
    from collections.abc import Callable

    from cases import Case


def row(case: Callable[[str], Case]) -> dict[str, Any]:
    """Of a second call: the first one prepares what the reference keeps."""
    expected, there = case("cpu").call(), case(str(install()))
    there.call()
    with counted() as counts:
        value = there.call()
    return {
        "metric": there.name,
        "launches": counts.launches,
        "reads": counts.synchronisations,
        "uploads": counts.uploads,
        "difference": abs(value - expected) / abs(expected),
    }


if __name__ == "__main__":
    shown = pd.DataFrame([row(case) for case in CASES]).to_markdown(index=False, floatfmt=".1e", intfmt=",")
    Path(__file__).with_name("counts.md").write_text(f"{shown}\n", encoding="utf-8")
