"""`dragon blend` as it is typed: its files, its refusals, and that it goes on where it stopped."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from dragon_train.blend.measure import Meter
from dragon_train.cli.app import app
from dragon_train.loop.run_folder import ADAPTER, CONFIG

if TYPE_CHECKING:
    from typer.testing import Result

    from blend.conftest import Tune
    from dragon_train.blend.shares import Shares

EMBEDDED = ("--steps", 1, "--prompts-per-step", 2, "--demonstration-steps", 2, "--learning-rate", 0.01, "--epochs", 1)
FEW = ("--shares", "0.2,1,0", "--parts", 2)
FILES = {"README.md", "blend.csv", "blend.json", "blend.md", "blend.svg"}
MAIN = ["kind", "share", "part_1", "part_2", "reward", "win_rate", "heldout_win_rate", "vendi"]


def dragon(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["blend", *map(str, arguments)])


def rows_of(*arguments: object) -> list[dict[str, Any]]:
    result = dragon(*arguments, "--json")
    assert result.exit_code == 0, (result.stderr, result.exception)
    rows: list[dict[str, Any]] = json.loads(result.stdout)
    return rows


@pytest.fixture
def run(tune: Tune, tmp_path: Path) -> Path:
    """A copy of a finished run, to whose folder results are added."""
    return Path(shutil.copytree(tune("audioldm", "lora"), tmp_path / "run"))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Shares]:
    """The blends that are measured."""
    asked, figures = list[tuple[float, ...]](), Meter.figures

    def told(meter: Meter, shares: Shares) -> dict[str, float]:
        asked.append(shares)
        return figures(meter, shares)

    monkeypatch.setattr(Meter, "figures", told)
    return asked


def test_without_the_extra_nothing_is_measured(
    run: Path, measured: list[Shares], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a plain installation is: the remedy is named before any blend is made."""
    for name in ("dragon_train.blend.write", "dragon_train.blend.figure", "dragon_train.bench.ablation.figures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused = dragon(run, *FEW)
    assert refused.exit_code != 0
    assert 'figures need matplotlib: pip install "dragon-rewards[reports]"' in refused.stderr
    assert not measured


def test_the_curves_of_a_run(run: Path, measured: list[Shares]) -> None:
    rows = rows_of(run, *FEW)
    assert [list(row) for row in rows] == [[*MAIN, "dominated_in"]] * 4
    assert [(row["kind"], row["share"]) for row in rows] == [*(("uniform", s) for s in (0, 0.2, 1)), ("per part", 0.2)]
    untuned, best = rows[0], rows[3]
    assert (untuned["reward"], untuned["win_rate"], untuned["heldout_win_rate"]) == (0, 0.5, 0.5)
    assert (best["part_1"] + best["part_2"]) / 2 == pytest.approx(0.2)
    assert measured == [(0, 0), (0.2, 0.2), (1, 1), (0.4, 0), (0, 0.4)]
    assert {path.name for path in (run / "blend").iterdir()} - {".lock"} == FILES
    table = pd.read_csv(run / "blend" / "blend.csv")
    assert {"heldout vendi:logmel", "untuned per-song-fad:logmel@airs", "win rate vendi:logmel"} <= set(table.columns)
    assert f"dragon blend {run} --parts 2 --shares 0.2,1,0" in (run / "blend" / "README.md").read_text()


def test_the_same_command_again_measures_nothing(
    run: Path, measured: list[Shares], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(run, *FEW)
    kept = {name: (run / "blend" / name).read_bytes() for name in FILES}
    del measured[:]
    monkeypatch.setattr("dragon_train.blend.weights.load_blending", None)
    assert rows_of(run, *FEW) == rows
    assert {name: (run / "blend" / name).read_bytes() for name in FILES} == kept
    assert measured == []


def test_an_interrupted_command_goes_on(run: Path, measured: list[Shares]) -> None:
    rows_of(run, *FEW)
    record = json.loads((run / "blend" / "blend.json").read_text())
    whole = (run / "blend" / "blend.csv").read_bytes()
    (run / "blend" / "blend.json").write_text(json.dumps({**record, "blends": record["blends"][:2]}))
    del measured[:]
    rows_of(run, *FEW)
    assert measured == [(1, 1), (0.4, 0), (0, 0.4)]
    assert (run / "blend" / "blend.csv").read_bytes() == whole


def test_a_share_of_one_part_has_no_candidates(run: Path, tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("a jig\na hymn\na reel\n")
    rows = rows_of(
        run, "--parts", 1, "--shares", "0.5", "--prompts", tmp_path / "few.txt", "--out", tmp_path / "another"
    )
    assert [(row["kind"], row["share"]) for row in rows] == [("uniform", 0.5)]
    assert "3 prompts to watch" in (tmp_path / "another" / "README.md").read_text()


def test_a_saved_blend_is_said_where_it_is(run: Path, tmp_path: Path) -> None:
    result = dragon(run, "--save", "0.2,0.6", "--parts", 2, "--to", tmp_path / "half")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'half'}\n"), result.stderr
    assert {ADAPTER, CONFIG, "metrics.csv", "prompts.json"} <= {path.name for path in (tmp_path / "half").iterdir()}
    assert not (run / "blend").exists()


REFUSALS: dict[str, tuple[tuple[object, ...], str]] = {
    "no run": (("nowhere",), "nowhere: no finished run; finish it with dragon train --out nowhere"),
    "no share": (("RUN", "--shares", "0,half"), "--shares: 'half' is no number from 0 (untuned) to 1 (tuned); give"),
    "too large": (("RUN", "--save", "1.5", "--to", "x"), "--save: '1.5' is no number from 0 (untuned) to 1 (tuned)"),
    "too many parts": (("RUN", "--parts", 4), "--parts 4: the run tunes 3 blocks; give --parts 3, or fewer"),
    "shares of other parts": (("RUN", "--save", "1,0", "--to", "x"), "--save 1,0: 2 shares for 3 parts; give one, or"),
    "nowhere to save": (("RUN", "--save", "1"), "--save says which blend, and --to where it goes: give both"),
    "nothing to save": (("RUN", "--to", "x"), "--save says which blend, and --to where it goes: give both"),
    "both": (("RUN", "--save", "1", "--to", "x", "--shares", "1"), "--save measures nothing; leave them out"),
    "a full target": (("RUN", "--save", "1", "--to", "RUN"), "the folder is not empty; choose another"),
    "other files": (("RUN", "--out", "RUN"), "holds files that are no blend's; choose another --out"),
    "no prompts": (("RUN", "--prompts", "none.txt"), "none.txt"),
    "one prompt": (("RUN", "--prompts", "one.txt"), "'vendi:logmel' judges at least 2 clips at once, and got 1"),
    "no device": (("RUN", "--parts", "2", "--device", "cuda:99"), "device 'cuda:99' is not on this machine"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_done_is_refused_before_anything_is_generated(
    case: str, run: Path, tmp_path: Path, measured: list[Shares], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.txt").write_text("a jig\n")
    arguments, said = REFUSALS[case]
    result = dragon(*(run if each == "RUN" else each for each in arguments))
    assert (result.exit_code, result.stdout) == (2, "")
    told = result.stderr.splitlines()[-1]  # above it, diffusers may show how a pipeline loads
    assert told.startswith("dragon: ")
    assert said in told
    assert measured == []
    assert {path.name for path in tmp_path.iterdir()} == {"run", "one.txt"}
    assert not (run / "blend").exists()


def test_a_run_that_kept_no_prompts_asks_for_some(run: Path) -> None:
    stored = json.loads((run / CONFIG).read_text())
    stored["config"] |= {"heldout": [], "heldout_prompts": 0}
    (run / CONFIG).write_text(json.dumps(stored))
    result = dragon(run, *FEW)
    assert result.exit_code == 2
    assert "kept no prompts to watch it by; give --prompts" in result.stderr


@pytest.mark.parametrize(
    ("given", "key"),
    [(("--shares", "0,1"), "shares"), (("--parts", 1), "parts"), (("--prompts", "other.txt"), "prompts")],
)
def test_a_folder_of_other_blends_is_refused(
    given: tuple[object, ...], key: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent)
    (run.parent / "other.txt").write_text("a jig\na hymn\n")
    rows_of(run, *FEW)
    result = dragon(run, *FEW, *given)
    assert result.exit_code == 2
    assert f"holds blends with other {key}; choose another --out, or delete it" in result.stderr


def test_a_blend_without_one_of_the_figures_is_refused(run: Path) -> None:
    rows_of(run, *FEW)
    path = run / "blend" / "blend.json"
    record = json.loads(path.read_text())
    for figure in ("reward", "vendi"):
        blends = [{**blend, "figures": dict(blend["figures"])} for blend in record["blends"]]
        del blends[1]["figures"][figure]
        path.write_text(json.dumps({**record, "blends": blends}))
        result = dragon(run, *FEW)
        assert result.exit_code == 2
        shares = blends[1]["shares"]
        assert (
            f"'{path}': the blend of shares {shares} has no {figure}; delete it, and the same command" in result.stderr
        )


def test_a_run_that_was_tuned_again_is_another(run: Path) -> None:
    rows_of(run, *FEW)
    dragon(run, "--save", "0.5", "--to", run.parent / "half")
    shutil.copy(run.parent / "half" / ADAPTER, run / ADAPTER)
    assert "holds blends with other result" in dragon(run, *FEW).stderr


@pytest.mark.slow
def test_a_run_of_the_embedded_pipeline(tmp_path: Path) -> None:
    """From training to a blend that is heard; the denoising error on real clips is a tax there."""
    invoke = CliRunner().invoke
    train = (
        "train",
        "--reward",
        "per-song-fad:clap@airs",
        *EMBEDDED,
        "--heldout-prompts",
        4,
        "--out",
        tmp_path / "run",
    )
    assert invoke(app, list(map(str, train))).exit_code == 0
    rows = rows_of(tmp_path / "run", "--shares", "0,0.2,1")
    errors = [row["denoising_error"] for row in rows]
    assert len(errors) == 4
    assert len(set(errors)) == 4
    dragon(tmp_path / "run", "--save", "0.4,0.2,0", "--to", tmp_path / "blend")
    heard = ("sample", "a jig", "--run", tmp_path / "blend", "--diffusion-steps", 2, "--out", tmp_path / "clips")
    assert invoke(app, list(map(str, heard))).exit_code == 0
