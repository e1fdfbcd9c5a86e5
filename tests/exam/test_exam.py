"""The exam of a run: what it may ask, that it is drawn by the weights, and what a sitting finds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.json import encode
from support.pipelines import folder_of
from typer.testing import CliRunner

from dragon_rewards.errors import ConfigError, DragonError, TableError
from dragon_rewards.evaluation import is_held_out
from dragon_rewards.names import RewardName
from dragon_train.bench.exam import questions
from dragon_train.bench.exam.questions import DRAWN, FEWEST, draw_judges, exam_prompts, usable, weights_digest
from dragon_train.bench.exam.record import EXAM, Sitting, Sittings, read_sittings
from dragon_train.bench.exam.sitting import last_watched
from dragon_train.bench.report.runs import exam_facts
from dragon_train.bench.report.source import read_run
from dragon_train.cli.app import app
from dragon_train.config import TrainConfig
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.run_folder import ADAPTER, METRICS, kept_prompts
from dragon_train.prompt_table import columns_of

CONFIG = TrainConfig("per-song-fad:clap@airs", at_least=("vendi:logmel",), heldout=("vendi:chroma",), heldout_prompts=4)


def test_judges_are_independent_of_what_the_run_was_tuned_toward_and_watched_by() -> None:
    drawn = draw_judges(CONFIG, "a digest")
    assert 0 < len(drawn) <= DRAWN
    for judge in drawn:
        name = RewardName.parse(judge.name)
        assert all(is_held_out(tuned, judge.name) for tuned in (CONFIG.reward, "vendi:logmel"))
        assert name.encoder not in {"clap", "logmel", "chroma"}
        assert name.exemplar_set not in {"airs", "airs-captions"}
    assert usable("per-song-fad:vae@tunebook", CONFIG) is not None
    for refused in ("vendi:chroma", "vendi:logmel", "per-song-fad:vae@airs", "dataset-fad:clap@tunebook"):
        assert usable(refused, CONFIG) is None


def test_a_mixture_is_examined_by_what_none_of_its_parts_has_seen() -> None:
    mixed = replace(CONFIG, reward="vendi:clap + 0.5 * dataset-fad:vae@tunebook", at_least=(), heldout=())
    names = [RewardName.parse(judge.name) for judge in draw_judges(mixed, "a digest")]
    assert all(name.encoder not in {"clap", "vae"} and name.exemplar_set != "tunebook" for name in names)


def test_other_weights_meet_other_judges() -> None:
    free = TrainConfig("vendi:clap")
    draws = {tuple(judge.name for judge in draw_judges(free, str(number))) for number in range(5)}
    assert len(draws) > 1
    assert draw_judges(free, "0") == draw_judges(free, "0")


def test_a_run_that_has_seen_every_encoder_cannot_be_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [RewardName.parse(f"vendi:{encoder}") for encoder in ("clap", "vae")]
    monkeypatch.setattr(questions, "valid_names", lambda _: names)
    config = TrainConfig("vendi:clap", heldout=("per-song-fad:vae@airs",), heldout_prompts=4)
    with pytest.raises(ConfigError, match=r"no installed reward is independent .* install another encoder"):
        draw_judges(config, "a digest")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step on the embedded pipeline."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    settings = ["--steps", "1", "--prompts-per-step", "2", "--demonstration-steps", "2", "--epochs", "1"]
    done = CliRunner().invoke(app, ["train", "--reward", "vendi:logmel", *settings, "--out", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


def test_prompts_are_those_of_the_exam_or_such_as_the_run_has_not_seen(run: Path, tmp_path: Path) -> None:
    config, seen = TrainConfig("vendi:logmel"), kept_prompts(run).train
    assert exam_prompts(run, config, None) == list(prompts("exam")[:128])
    own = tmp_path / "own.txt"
    own.write_text("\n".join([*seen[:50], *prompts("exam")[:FEWEST]]), encoding="utf-8")
    assert exam_prompts(run, config, own) == list(prompts("exam")[:FEWEST])
    own.write_text("\n".join(seen[:50]), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"leaves 0 prompts that .* give --prompts FILE"):
        exam_prompts(run, config, own)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_columns_of_a_table_reach_the_pipeline(run: Path, tmp_path: Path) -> None:
    config = TrainConfig("vendi:logmel", pipeline=str(folder_of("stable-audio", tmp_path)))
    table = tmp_path / "own.csv"
    rows = "".join(f"tune {number},drums\n" for number in range(FEWEST))
    table.write_text(f"prompt,negative_prompt\n{rows}", encoding="utf-8")
    found = exam_prompts(run, config, table)
    assert [columns_of(text) for text in found] == [{"negative_prompt": "drums"}] * FEWEST
    table.write_text(f"prompt,lyrics\n{rows}", encoding="utf-8")
    with pytest.raises(TableError, match="'lyrics', which this pipeline does not take"):
        exam_prompts(run, config, table)


def test_the_draw_follows_the_weights(run: Path, tmp_path: Path) -> None:
    (tmp_path / ADAPTER).write_bytes((run / ADAPTER).read_bytes())
    assert weights_digest(tmp_path) == weights_digest(run)
    (tmp_path / ADAPTER).write_bytes(b"other weights")
    assert weights_digest(tmp_path) != weights_digest(run)


@pytest.mark.slow
def test_an_exam_is_taken_kept_and_shown_and_a_second_one_is_marked(run: Path, tmp_path: Path) -> None:
    asked = tmp_path / "asked.txt"
    asked.write_text("\n".join(prompts("exam")[:FEWEST]), encoding="utf-8")
    taken = [CliRunner().invoke(app, ["exam", str(run), "--prompts", str(asked)]) for _ in range(2)]
    assert [done.exit_code for done in taken] == [0, 0], taken[0].output
    assert "the first one counts" not in taken[0].output
    assert "This is sitting 2: the first one counts" in taken[1].output
    first, second = read_sittings(run)
    assert first.judgements == second.judgements
    assert (first.prompts, first.steps) == (FEWEST, 4)
    assert {"prompt_sensitivity", "denoising_error", "instrument"} <= first.behaviour.keys()
    assert first.behaviour["prompt_sensitivity"][0] > 0.1  # clips fit their own prompts better than their neighbours'
    (fact,) = exam_facts(read_run(run))
    assert fact.cell.value == pytest.approx(first.exam)
    assert "taken 1 times more since" in fact.cell.note


def test_a_run_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["exam", str(tmp_path)])
    assert done.exit_code != 0
    assert "no finished run" in done.output


@pytest.mark.parametrize(
    ("metrics", "fault"),
    [
        ("", "cannot be read"),
        ("step,heldout_win_rate\n1,x\n", "column 'heldout_win_rate' must hold numbers"),
        ("step,heldout_win_rate\n1,\n2,1.5\n", "heldout_win_rate = 1.5 is no share"),
        ("step,heldout_win_rate\n1,inf\n", "heldout_win_rate = inf is no share"),
    ],
)
def test_metrics_that_are_damaged_are_named_before_anything_is_generated(
    metrics: str, fault: str, tmp_path: Path
) -> None:
    (tmp_path / METRICS).write_text(metrics, encoding="utf-8")
    with pytest.raises(DragonError) as refused:
        last_watched(tmp_path)
    assert f"'{tmp_path / METRICS}'" in str(refused.value)
    assert fault in str(refused.value)
    assert str(refused.value).endswith("restore it, or train again in another folder")
    (tmp_path / METRICS).write_text("step,heldout_win_rate\n1,0.25\n2,\n", encoding="utf-8")
    assert last_watched(tmp_path) == 0.25


def test_a_sitting_without_judges_is_refused(tmp_path: Path) -> None:
    empty = Sitting("2026-11-27", 16, 4, 0, (), {}, None, {})
    (tmp_path / EXAM).write_bytes(encode(Sittings((empty,))))
    with pytest.raises(DragonError, match=rf"{EXAM}.*judgements.*an exam is taken once"):
        read_sittings(tmp_path)


def test_sittings_that_are_damaged_are_named(tmp_path: Path) -> None:
    (tmp_path / EXAM).write_text(json.dumps({"sittings": 3}), encoding="utf-8")
    with pytest.raises(Exception, match=rf"{EXAM}.*an exam is taken once"):
        read_sittings(tmp_path)
    assert Sittings().sittings == ()
