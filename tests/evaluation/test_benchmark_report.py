"""The page of a benchmark from scores and confounders that are made up; rewards are real but judge nothing here."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dragon_rewards.evaluation import Change, Interval, clip_change, holm
from dragon_rewards.evaluation.score_tables import BASELINE
from dragon_rewards.registry import load_registry
from dragon_rewards.suites import Slot, Suite, serve
from dragon_train.bench.benchmark import Benchmark
from dragon_train.bench.presets import load_preset
from dragon_train.bench.result_files import CONFOUNDERS, TEST
from dragon_train.bench.tables import write_report
from dragon_train.bench.workload import Workload

TARGET, JUDGE, SETS = "per-song-fad:clap@airs", "per-song-fad:vae@tunebook", "vendi:clap"
PROMPTS = 30
ENDS = [f"{side}_{end}" for side in ("before", "after", "change") for end in ("low", "high")]
SUBJECT = Workload("embedded", ("a jig",), tuple(f"tune {i}" for i in range(PROMPTS)))


def scores() -> pd.DataFrame:
    """Run TARGET gains under its own reward and loses under the held-out one; SETS gains."""
    generator = np.random.default_rng(0)
    clips, sets = [f"p{i:04d}" for i in range(PROMPTS)], [*[f"s{i:04d}" for i in range(10)], "all"]
    shifts = {BASELINE: (0.0, 0.0, 0.0), TARGET: (-2.0, 2.0, 0.0), SETS: (0.0, 0.0, 5.0)}
    rows = [
        {"run": run, "model": "m", "prompt_id": name, "seed": 0, "reward": reward, "value": shift + generator.normal()}
        for run, values in shifts.items()
        for reward, names, shift in zip((TARGET, JUDGE, SETS), (clips, clips, sets), values, strict=True)
        for name in names
    ]
    return pd.DataFrame(rows)


def confounders(run: str, louder: float) -> pd.DataFrame:
    levels = np.random.default_rng(1).normal(louder - 20, 1 + louder / 5, PROMPTS)
    names = [f"p{i:04d}" for i in range(PROMPTS)]
    frame = pd.DataFrame({"run": run, "prompt_id": names, "seed": 0, "duration": 5.0, "loudness": levels})
    return frame.assign(silence=0.0)


@pytest.fixture(name="benchmark")
def three_rewards(tmp_path: Path) -> Benchmark:
    suite = Suite("three", "for tests", tuple(Slot(name) for name in (TARGET, JUDGE, SETS)))
    return Benchmark(
        tuple(serve(suite, load_registry())), (TARGET, SETS), load_preset("ablation"), 0, tmp_path, SUBJECT
    )


def test_held_out_rewards_are_marked_and_what_does_not_carry_over_is_named(benchmark: Benchmark) -> None:
    rows = write_report(benchmark, scores())
    assert [row["run"] for row in rows] == [TARGET, SETS]
    assert [row["holm"] for row in rows] == holm([row["p_value"] for row in rows]).tolist()
    assert [row["permutation_p"] for row in rows] == [None, None]
    json.dumps(rows, allow_nan=False)
    assert rows[0]["effect"] > 0.8
    page = (benchmark.out / "README.md").read_text()
    assert f"Gains that do not carry over to held-out rewards of the same reduction: `{TARGET}`." in page
    assert f"for want of a held-out reward of the same reduction: `{SETS}`." in page
    cross = page.split("## Cross-effects")[1]
    line = next(line for line in cross.splitlines() if line.startswith(f"| {TARGET}"))
    assert [cell.strip().endswith("*") for cell in line.split("|")[2:-1]] == [False, True, False]
    held_out = pd.read_csv(benchmark.out / "held_out.csv").set_index("run")
    assert held_out.loc[TARGET, "without_gain"] == JUDGE
    assert "## Length, loudness, silence" not in page
    assert "Beside their targets" not in page


def test_what_runs_learn_from_beside_their_targets_is_named(benchmark: Benchmark) -> None:
    preset = replace(benchmark.preset, beside=f"{JUDGE} + {SETS}", train={"at_least": ["clap-score:clap"]})
    write_report(replace(benchmark, preset=preset), scores())
    names = f"`{JUDGE}`, `{SETS}`, `clap-score:clap`"
    assert f"Beside their targets, runs learn from {names}" in (benchmark.out / "README.md").read_text()


def test_a_permutation_test_takes_the_place_of_subsets_in_the_correction(benchmark: Benchmark) -> None:
    benchmark.folder(SETS).mkdir()
    (benchmark.folder(SETS) / TEST).write_text('{"difference": 1.0, "p_value": 0.001, "permutations": 999}')
    clips, sets = write_report(benchmark, scores())
    assert sets["permutation_p"] == 0.001
    assert [clips["holm"], sets["holm"]] == holm([clips["p_value"], 0.001]).tolist()
    page = (benchmark.out / "README.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| {SETS}"))
    assert "0.001" in [cell.strip() for cell in row.split("|")]
    assert "better at the 5% level by the permutation test: 1 of 1" in page
    _, of_sets = pd.read_csv(benchmark.out / "win_rates.csv").to_dict("records")
    assert of_sets["change"] == of_sets["after"] - of_sets["before"]
    assert all(pd.isna(of_sets[end]) for end in ENDS)  # the test is of a version that kept none


def test_the_change_has_an_interval_of_clips_by_prompts_and_of_sets_by_halves(benchmark: Benchmark) -> None:
    of_sets = Change(Interval(9.0, 8.0, 10.0), Interval(9.5, 8.5, 10.5), Interval(0.5, 0.25, 0.75))
    record = {"difference": 0.5, "p_value": 0.001, "permutations": 999, "metric": asdict(of_sets)}
    benchmark.folder(SETS).mkdir()
    (benchmark.folder(SETS) / TEST).write_text(json.dumps(record))
    frame = scores()
    write_report(benchmark, frame)
    row, sets = pd.read_csv(benchmark.out / "win_rates.csv").to_dict("records")
    assert [sets[end] for end in ENDS] == [8.0, 10.0, 8.5, 10.5, 0.25, 0.75]
    values = frame[frame["reward"] == TARGET]
    old, new = (values.loc[values["run"] == run, "value"].to_numpy() for run in (BASELINE, TARGET))
    found = clip_change(old, new, range(PROMPTS))
    for side, values_of_side in (("before", old), ("after", new), ("change", new - old)):
        interval = getattr(found, side)
        assert row[side] == pytest.approx(values_of_side.mean())
        assert (row[f"{side}_low"], row[f"{side}_high"]) == pytest.approx((interval.low, interval.high))
    page = (benchmark.out / "README.md").read_text()
    assert "lies on the better side of 0: 2 of 2" in page  # one is better lower, the other higher
    assert page.index("permutation test") < page.index("Mean win rate")


def test_confounders_beside_the_scores_are_shown(benchmark: Benchmark) -> None:
    for run, louder in ((BASELINE, 0.0), (TARGET, 3.0), (SETS, 0.0)):
        benchmark.folder(run).mkdir()
        confounders(run, louder).to_parquet(benchmark.folder(run) / CONFOUNDERS)
    write_report(benchmark, scores())
    table = pd.read_csv(benchmark.out / "confounders.csv").set_index("run")
    assert table.index.tolist() == [BASELINE, TARGET, SETS]
    assert float(table["loudness"][TARGET]) == pytest.approx(float(table["loudness"][BASELINE]) + 3, abs=1)
    low, middle, high = (float(table[name][TARGET]) for name in ("controlled_low", "controlled", "controlled_high"))
    assert low <= middle <= high
    assert table["controlled"].isna().tolist() == [True, False, True]
    assert "## Length, loudness, silence" in (benchmark.out / "README.md").read_text()
