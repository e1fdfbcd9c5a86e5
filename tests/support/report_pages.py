"""What tests of report pages share: the committed benchmark, prompts that are markup, and figures read off a page."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards.evaluation import cluster_interval

if TYPE_CHECKING:
    from playwright.sync_api import Page

QUICK = Path(__file__).parents[2] / "reports" / "release-0.1" / "bench-quick"
HOSTILE = [
    '<script>window.hacked = 1</script> a jig & "a reel"',
    '"><img src=x onerror="window.hacked = 1">',
    "</script>",
]

CEILINGS = """\
run,served,music,real,real_low,real_high,codec,codec_low,codec_high,untuned,untuned_low,untuned_high,\
tuned,tuned_low,tuned_high,headroom,share,note
aesthetics:clap,aesthetics-degradation:clap,tunebook,3.9,3.8,4.0,3.7,3.6,3.8,3.19,3.12,3.26,3.33,3.27,3.39,True,0.197,
dataset-fad:clap@airs,dataset-fad:clap@airs,airs,0.05,0.04,0.06,0.06,0.05,0.07,0.11,0.1,0.12,0.084,0.078,0.09,True,0.43,
per-song-fad:clap@airs,per-song-fad:clap@airs,airs,0.95,0.9,1,0.97,0.9,1.05,0.87,0.85,0.89,0.82,0.8,0.84,False,,
vendi:clap,vendi:clap,,,,,,,,9.178,,,9.444,,,,,its exemplar set holds no music
"""
COLLATERAL = """\
run,notes per second,share of clipped samples
baseline,2.5,0.001
aesthetics:clap,2.25,0.004
"""
HEADLINE = """\
figure,rewards,count,mean,low,high,between_seeds
win_rate,all,20,0.857,0.79,0.91,
share,with headroom,2,0.31,0.2,0.43,
"""
FACETS = """\
run,facet,untuned,tuned,p_value,finding,clip_1,clip_2,clip_3
vendi:clap,facet 1,0.6,0.55,1.0,,a jig (seed 1),a <b>reel</b> (seed 2),an air (seed 3)
vendi:clap,facet 2,0.4,0.45,0.5,,a hymn (seed 4),a march (seed 5),a polka (seed 6)
vendi:clap,far,0.01,0.02,0.5,,a jig (seed 1),a hymn (seed 4),an air (seed 3)
aesthetics:clap,facet 1,0.55,0.9,0.0001,"takes 90% of the tuned clips, 55% of the untuned ones",a jig (seed 1),\
an air (seed 3),a hymn (seed 4)
aesthetics:clap,facet 2,0.45,0.1,1.0,,a march (seed 5),a polka (seed 6),a reel (seed 2)
aesthetics:clap,far,0.01,0.3,0.0001,"30% of the tuned clips are like nothing that scored high before",a jig (seed 1),\
an air (seed 3),a hymn (seed 4)
"""


def figures(page: Page, selector: str) -> list[list[float]]:
    """The exact values of a table's figures, row by row."""
    read = "rows => rows.map(row => [...row.querySelectorAll('data')].map(each => Number(each.value)))"
    values: list[list[float]] = page.locator(f"{selector} tbody tr").evaluate_all(read)
    return values


def later_benchmark(folder: Path) -> Path:
    """The committed benchmark as later versions write it: changes with intervals, and further small tables."""
    shutil.copytree(QUICK, folder)
    wins = pd.read_csv(folder / "win_rates.csv")
    scores = pd.read_parquet(folder / "scores.parquet")
    changes = [change_of_clips(scores, row) for row in wins.to_dict("records")]
    wins.assign(**pd.DataFrame(changes)).to_csv(folder / "win_rates.csv", index=False)
    (folder / "ceilings.csv").write_text(CEILINGS)
    (folder / "collateral.csv").write_text(COLLATERAL)
    (folder / "headline.csv").write_text(HEADLINE)
    (folder / "facets.csv").write_text(FACETS)
    return folder


def change_of_clips(scores: pd.DataFrame, row: dict[Any, Any]) -> dict[str, float]:
    """The change of a run's own reward; its interval is missing where the reward judges sets."""
    judged = scores[(scores["reward"] == row["served"]) & scores["prompt_id"].str.startswith("p")]
    before, after = (judged[judged["run"] == run].set_index("seed")["value"] for run in ("baseline", row["run"]))
    change = {"change": row["after"] - row["before"], "change_low": float("nan"), "change_high": float("nan")}
    if judged.empty:
        return change
    found = cluster_interval((after - before).to_numpy(), before.index)
    return {**change, "change_low": found.low, "change_high": found.high}
