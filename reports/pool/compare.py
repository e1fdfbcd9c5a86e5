"""Set runs with a pool beside runs without one: writes comparison.csv and comparison.md.

dragon bench --preset quick --out reports/release-0.1/bench-quick
dragon bench --preset reports/pool/batch_only.toml --out reports/pool/batch-only --rewards ...
python reports/pool/compare.py
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dragon_rewards.storage.results import write_table

HERE = Path(__file__).parent
COLUMNS = ["before", "after", "win_rate"]


def main() -> None:
    """One row per reward that both benchmarks tuned for."""
    pooled = pd.read_csv(HERE.parent / "release-0.1" / "bench-quick" / "win_rates.csv").set_index("run")
    alone = pd.read_csv(HERE / "batch-only" / "win_rates.csv").set_index("run")
    both = alone[COLUMNS].add_suffix("_batch_only").join(pooled[COLUMNS[1:]].add_suffix("_pool"))
    both = both.rename(columns={"before_batch_only": "before"})
    write_table(HERE / "comparison", both.reset_index())
    print(both.round(4).to_string())


if __name__ == "__main__":
    main()
