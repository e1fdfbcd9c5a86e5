"""`dragon listen RUN`: the clips of the untuned and the tuned model, made once, and what is refused before."""

from __future__ import annotations

import shutil
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load, save_file
from support.cli import dragon

from dragon_rewards.compute.devices import CPU
from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation.listening.votes import VoteFile
from dragon_rewards.media.audio import read_audio
from dragon_train.bench.report import folders
from dragon_train.bench.report.folders import run_folders
from dragon_train.bench.report.paired_comparisons import Generation, generation_of
from dragon_train.bench.report.pairs import sampled
from dragon_train.bench.report.source import read_results

if TYPE_CHECKING:
    from dragon_train.protocols import Policy

pytestmark = pytest.mark.slow

CONTROLS = ["--repeats", 0, "--identical", 0]


def copied(run: Path, folder: Path) -> Path:
    """A run without clips."""
    return shutil.copytree(run, folder, ignore=shutil.ignore_patterns("pairs"))


def page(run: Path, out: Path, *options: object) -> Any:
    """`dragon listen page`."""
    return dragon("listen", "page", run, "--out", out, "--db", out.with_suffix(".sqlite"), *CONTROLS, *options)


@pytest.fixture(name="heard", scope="module")
def run_with_clips(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose test of three pairs was written."""
    folder = copied(run, tmp_path_factory.mktemp("heard") / "run")
    done = page(folder, folder.parent / "test.html", "--pairs", 3)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(Generation, "load", refuse)


def test_a_is_the_untuned_and_b_the_tuned_model(heard: Path) -> None:
    """The clips are those that `dragon report` plays."""
    plan = VoteFile(heard.parent / "test.sqlite").plan()
    assert plan is not None
    results = read_results(heard)
    given = generation_of(results, results.runs[0], 3, None)
    assert [pair.prompt for pair in plan.pairs] == list(given.prompts)
    for side, weights in (("untuned", None), ("tuned", heard)):
        table = pd.read_csv(heard / "pairs" / side / "prompts.csv")
        assert (list(table["prompt"]), list(table["seed"])) == (list(given.prompts), list(given.seeds))
        for name, expected in zip(table["path"], sampled(given, weights, CPU).media, strict=True):
            audio, _ = read_audio(heard / "pairs" / side / name)
            torch.testing.assert_close(audio, expected.clamp(-1, 1), atol=2e-3, rtol=0)
    assert all(pair.a.sha256 != pair.b.sha256 for pair in plan.pairs)


@pytest.mark.usefixtures("no_models")
def test_clips_are_made_once(heard: Path, tmp_path: Path) -> None:
    assert page(heard, heard.parent / "test.html", "--pairs", 3).exit_code == 0
    assert page(heard, tmp_path / "another.html", "--pairs", 3).exit_code == 0


def test_other_clips_are_made_for_other_counts_and_weights_and_where_some_are_missing(
    heard: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = shutil.copytree(heard, tmp_path / "run")
    made: list[Path | None] = []

    def noted(given: Generation, weights: Path | None, device: torch.device) -> Policy:
        made.append(weights)
        return original(given, weights, device)

    original = Generation.load
    monkeypatch.setattr(Generation, "load", noted)
    run_folders(run, 2, CPU)
    assert made == [None, run]
    assert [len(list((run / "pairs" / side).glob("*.wav"))) for side in ("untuned", "tuned")] == [2, 2]
    next((run / "pairs" / "untuned").glob("*.wav")).unlink()
    run_folders(run, 2, CPU)
    assert made[2:] == [None]
    adapter = run / "adapter_model.safetensors"
    content = bytearray(adapter.read_bytes())
    content[-1] ^= 1
    adapter.write_bytes(content)
    with pytest.raises(DragonError, match="is damaged"):
        run_folders(run, 2, CPU)
    save_file({name: value + 0.01 for name, value in load(bytes(content)).items()}, adapter)
    run_folders(run, 2, CPU)
    assert made[3:] == [run, run]


def test_a_run_is_heard_on_the_prompts_of_a_file(run: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('"a slow hymn"\n"a fast jig"\n', encoding="utf-8")
    done = page(copied(run, tmp_path / "run"), tmp_path / "test.html", "--pairs", 2, "--prompts", prompts)
    assert done.exit_code == 0, done.output
    plan = VoteFile(tmp_path / "test.sqlite").plan()
    assert plan is not None
    assert [pair.prompt for pair in plan.pairs] == ["a slow hymn", "a fast jig"]


def test_an_interruption_leaves_no_half_of_a_folder(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    stopped = copied(run, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(folders, "write_text", interrupt)  # when the clips are written
        with pytest.raises(KeyboardInterrupt):
            run_folders(stopped, 2, CPU)
    assert list((stopped / "pairs").iterdir()) == []
    assert run_folders(stopped, 2, CPU) == (stopped / "pairs" / "untuned", stopped / "pairs" / "tuned")


@pytest.mark.usefixtures("no_models")
def test_a_run_is_refused_before_a_model_is_loaded(run: Path, tmp_path: Path) -> None:
    unfinished, taken = copied(run, tmp_path / "unfinished"), copied(run, tmp_path / "taken")
    (unfinished / "adapter_model.safetensors").unlink()
    (taken / "pairs" / "untuned").mkdir(parents=True)
    (taken / "pairs" / "untuned" / "diary.txt").touch()
    for folder, options, said in (
        (unfinished, [], "finish the run with `dragon train --out"),
        (taken, [], "the folder is none of this command's clips: move it away"),
        (run, ["--pairs", 999], "of only"),
        (run, ["--pairs", 1, "--repeats", 2], "of 1 pair 1 can be repeated, not 2"),
        (tmp_path / "gone", [], "is no folder of a `dragon train` run: give one, or two folders of clips"),
    ):
        refused = page(folder, tmp_path / "page.html", *options)
        assert refused.exit_code == 2
        assert said in refused.stderr
    assert (taken / "pairs" / "untuned" / "diary.txt").exists()


@pytest.mark.usefixtures("no_models")
def test_a_test_under_way_goes_on_with_as_many_pairs(heard: Path) -> None:
    refused = page(heard, heard.parent / "test.html", "--pairs", 2)
    assert "test.sqlite' is a test of 3 pairs, not 2: --pairs, or another --db" in refused.stderr


@pytest.mark.usefixtures("no_models")
def test_a_benchmark_is_to_name_one_of_its_runs(benchmark: Path, tmp_path: Path) -> None:
    refused = page(benchmark, tmp_path / "page.html")
    assert f"name the folder of one of its runs, as '{benchmark / 'clap-score+clap'}'" in refused.stderr


@pytest.mark.usefixtures("no_models")
def test_pairs_are_not_of_two_folders(heard: Path, tmp_path: Path) -> None:
    sides = heard / "pairs" / "untuned", heard / "pairs" / "tuned"
    done = dragon("listen", "page", *sides, "--out", tmp_path / "page.html", "--pairs", 2)
    assert done.exit_code == 2
    assert "--pairs is for a run" in done.stderr


@pytest.mark.usefixtures("no_models")
def test_a_taken_port_is_told_before_clips_are_made(run: Path, tmp_path: Path) -> None:
    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = dragon("listen", "serve", run, "--port", port, "--db", tmp_path / "votes.sqlite")
    assert refused.exit_code == 2
    assert "give another --host or --port" in refused.stderr
