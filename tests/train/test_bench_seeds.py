"""Benchmarks of several seeds: the list of seeds, real runs of a small suite, resumption, a further seed, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from support.faults.material import PRESET, SUITE
from typer.testing import CliRunner

from dragon_rewards.errors import ConfigError
from dragon_train.bench.record import check_results
from dragon_train.bench.result_files import SETTINGS
from dragon_train.bench.seeds import check_place, chosen_seeds, seed_folder
from dragon_train.cli.app import app

CLIPS, SETS = "per-song-fad:logmel@airs", "vendi:logmel"


@pytest.fixture(name="files", scope="module")
def suite_and_preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "suite.toml").write_text(SUITE)
    (folder / "preset.toml").write_text(PRESET)
    return folder


@pytest.fixture(name="results", scope="module")
def two_seeds(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bench")
    assert bench(files, out, "--seeds", "1,0").exit_code == 0
    return out


def bench(files: Path, out: Path, *more: str) -> CliRunner.Result:  # type: ignore[name-defined]
    given = ["--suite", str(files / "suite.toml"), "--preset", str(files / "preset.toml"), "--workers", "1"]
    return CliRunner().invoke(app, ["bench", *given, "--out", str(out), *more])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("text", "seeds"), [("0,1,2", (0, 1, 2)), ("7", (7,)), ("10, 2", (2, 10))])
def test_seeds_are_listed_in_ascending_order(text: str, seeds: tuple[int, ...]) -> None:
    assert chosen_seeds(None, text) == seeds


@pytest.mark.parametrize("text", ["", ",", "0,", "0,-1", "0,1.5", "one", "0 1", "0,1e3", "٣", "9" * 20])
def test_what_is_no_seed_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no seed; give whole numbers from 0 on, such as 0,1,2"):
        chosen_seeds(None, text)


def test_a_seed_comes_once_and_one_option_names_seeds() -> None:
    with pytest.raises(ConfigError, match="1 comes twice"):
        chosen_seeds(None, "1,0,01")
    with pytest.raises(ConfigError, match="--seed 0 and --seeds 1,2 exclude each other"):
        chosen_seeds(0, "1,2")
    assert (chosen_seeds(None, None), chosen_seeds(4, None)) == (0, 4)


@pytest.mark.parametrize(("more", "reason"), [(["--seeds", "0,0"], "0 comes twice"), (["--seeds", ""], "is no seed")])
def test_the_command_refuses_such_lists(files: Path, tmp_path: Path, more: list[str], reason: str) -> None:
    refused = bench(files, tmp_path / "out", *more)
    assert refused.exit_code == 2
    assert reason in " ".join(refused.stderr.split())
    assert not (tmp_path / "out").exists()


def test_a_report_is_of_one_seed(tmp_path: Path) -> None:
    for seed in (12, 3):
        seed_folder(tmp_path, seed).mkdir()
        (seed_folder(tmp_path, seed) / SETTINGS).touch()
    with pytest.raises(ConfigError, match=r"name a folder '.*seed-3'"):
        check_results(tmp_path)


def test_a_folder_holds_one_benchmark_or_several_seeds_and_leaves_none_out(tmp_path: Path) -> None:
    check_place(tmp_path / "new", None)
    check_place(tmp_path / "new", (0, 1))
    single, several = tmp_path / "single", tmp_path / "several"
    for folder in (single, seed_folder(several, 0), seed_folder(several, 3), several / "seed-of-yours"):
        folder.mkdir(parents=True)
        (folder / SETTINGS).touch()
    check_place(single, None)
    check_place(several, (0, 2, 3))
    with pytest.raises(ConfigError, match="a benchmark of a single seed; give --seed"):
        check_place(single, (0,))
    with pytest.raises(ConfigError, match="benchmarks of several seeds; give --seeds"):
        check_place(several, None)
    with pytest.raises(ConfigError, match=r"holds seed 3 as well; add it to --seeds.*seed-3 away"):
        check_place(several, (0, 1))


@pytest.mark.slow
def test_each_seed_is_a_whole_benchmark_and_a_table_is_over_them(results: Path) -> None:
    of_seeds = [pd.read_csv(results / f"seed-{seed}" / "win_rates.csv").set_index("run") for seed in (0, 1)]
    table = pd.read_csv(results / "seeds.csv").set_index("run")
    assert table.index.tolist() == [CLIPS, SETS]
    assert table["seeds"].tolist() == [2, 2]
    both = pd.concat(of_seeds)
    for column in ("change", "win_rate"):
        of_runs = both.groupby("run")[column]
        assert table[column].to_dict() == pytest.approx(of_runs.mean().to_dict())
        assert table[f"{column}_sd"].to_dict() == pytest.approx(of_runs.std().to_dict())
    assert both["before"].is_unique
    summed = pd.read_csv(results / "headline.csv").set_index("figure").loc["win_rate"]
    assert summed["mean"] == pytest.approx(both["win_rate"].mean())
    assert summed["between_seeds"] == pytest.approx(pd.Series([each["win_rate"].mean() for each in of_seeds]).std())
    beside = [pd.read_csv(results / f"seed-{seed}" / "collateral.csv").set_index("run") for seed in (0, 1)]
    pd.testing.assert_frame_equal(
        pd.read_csv(results / "collateral.csv").set_index("run"), (beside[0] + beside[1]) / 2, check_exact=False
    )
    page = (results / "README.md").read_text()
    assert "[0](seed-0/README.md), [1](seed-1/README.md)" in page
    assert "standard deviation between seeds" in page


@pytest.mark.slow
def test_a_seed_alone_gives_what_it_gave_among_others(files: Path, results: Path, tmp_path: Path) -> None:
    assert bench(files, tmp_path / "alone", "--seed", "1").exit_code == 0
    for table in ("win_rates.csv", "held_out.csv", "headline.csv"):
        assert (tmp_path / "alone" / table).read_text() == (results / "seed-1" / table).read_text()


@pytest.mark.slow
def test_several_seeds_resume_and_a_further_one_joins_them(files: Path, results: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    shutil.copytree(results, out)
    before = contents(out)
    shutil.rmtree(next((out / "seed-1").glob("per-song*")))
    resumed = bench(files, out, "--seeds", "0,1", "--json")
    assert resumed.exit_code == 0
    assert [row["run"] for row in json.loads(resumed.stdout)] == [CLIPS, SETS]
    assert "win rate under the own reward, mean of 2 rewards" in resumed.stderr
    after = contents(out)
    for name in ("seeds.csv", "headline.csv", "README.md", "seed-1/win_rates.csv"):
        assert after[name] == before[name]
    assert bench(files, out, "--seeds", "0,1,2").exit_code == 0
    assert pd.read_csv(out / "seeds.csv")["seeds"].tolist() == [3, 3]
    kept = {name: content for name, content in contents(out).items() if name.startswith(("seed-0", "seed-1"))}
    assert kept == {name: content for name, content in after.items() if name.startswith(("seed-0", "seed-1"))}


@pytest.mark.slow
def test_other_settings_and_fewer_seeds_are_refused_before_anything_runs(files: Path, results: Path) -> None:
    before = contents(results)
    (files / "other.toml").write_text(PRESET.replace("steps = 1", "steps = 2"))
    for more, reason in (
        (["--seeds", "0,1,5", "--preset", str(files / "other.toml")], "another preset"),
        (["--seeds", "0"], "holds seed 1 as well"),
        (["--seed", "0"], "holds benchmarks of several seeds"),
    ):
        refused = bench(files, results, *more)
        assert refused.exit_code == 2
        assert reason in " ".join(refused.stderr.split())
    assert contents(results) == before
