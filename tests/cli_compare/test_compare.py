"""`dragon compare` on real files: how clips are paired, what is said of it, statistics, refusals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch
from scipy.stats import mannwhitneyu
from support.parts import RATE, noise
from typer.testing import CliRunner

from dragon_rewards.evaluation import (
    cluster_interval,
    distribution_wins,
    holm,
    instance_wins,
    matched_subsets,
    paired_wins,
    permutation_test,
    rank_biserial,
)
from dragon_rewards.media.audio import read_audio, write_audio
from dragon_rewards.media.clips import Clips
from dragon_rewards.media.encodable import CPU_BATCH
from dragon_rewards.media.folder_pairs import find_sides
from dragon_rewards.media.loudness import loudness
from dragon_rewards.rewards import compose
from dragon_train.cli.app import app
from dragon_train.cli.verbs import compare as verb
from dragon_train.cli.verbs import listing

if TYPE_CHECKING:
    from pathlib import Path

    from support.parts import TwoTower
    from typer.testing import Result

FAD, SET_FAD, VENDI, CLAP_SCORE = "per-song-fad:two@tunes", "dataset-fad:two@tunes", "vendi:two", "clap-score:two"
VERBS = (listing, verb)  # their imports add them to the app, which takes no lone verb's name
CLIPS = 12
WIDTH = 80  # of the printed table, in characters


def folder(path: Path, clips: int = CLIPS, seed: int = 0) -> Path:
    """Files of one second of noise: clip-00.wav onwards."""
    path.mkdir()
    for index, clip in enumerate(noise(clips, seed)):
        write_audio(path / f"clip-{index:02d}.wav", clip, RATE)
    return path


def describe(path: Path, rows: list[tuple[str, str, int]]) -> None:
    """Write prompts.csv of file, prompt and seed."""
    pd.DataFrame(rows, columns=["path", "prompt", "seed"]).to_csv(path / "prompts.csv", index=False)


@pytest.fixture(name="a")
def folder_a(tmp_path: Path) -> Path:
    return folder(tmp_path / "a")


@pytest.fixture(name="b")
def folder_b(tmp_path: Path) -> Path:
    return folder(tmp_path / "b", seed=5)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def compared(*arguments: object) -> dict[str, dict[str, Any]]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return {row["reward"]: row for row in json.loads(result.stdout)}


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    return " ".join(result.stderr.split())


def clips_of(path: Path) -> Clips:
    return Clips([read_audio(file)[0] for file in sorted(path.glob("*.wav"))], RATE)


@pytest.mark.usefixtures("encoder")
def test_paired_clips_count_as_wins_of_b(a: Path, b: Path) -> None:
    row = compared(a, b, "--rewards", FAD)[FAD]
    before, after = (compose(FAD).metric(clips_of(side)) for side in (a, b))
    wins = instance_wins(-before, -after)
    assert 0 < wins.rate < 1
    shown = {name: row[name] for name in list(row)[:10]}
    assert shown == {
        "reward": FAD,
        "compared": "clips, by name",
        "better": "lower",
        "a": pytest.approx(float(before.mean()), rel=1e-5),
        "b": pytest.approx(float(after.mean()), rel=1e-5),
        "win_rate": wins.rate,
        "lower": wins.lower,
        "p_value": wins.p_value,
        "holm": wins.p_value,
        "trials": CLIPS,
    }
    interval = cluster_interval(paired_wins(-before, -after), range(CLIPS))
    assert (row["low"], row["high"]) == (interval.low, interval.high)
    assert row["effect"] == pytest.approx(rank_biserial(-before, -after))
    assert row["permutation_p"] is None


@pytest.mark.usefixtures("encoder")
def test_the_other_way_round_the_other_side_wins(a: Path, b: Path) -> None:
    forth, back = (compared(*sides, "--rewards", FAD, "--rewards", SET_FAD) for sides in ((a, b), (b, a)))
    for name in (FAD, SET_FAD):
        assert forth[name]["win_rate"] == pytest.approx(1 - back[name]["win_rate"])
        assert forth[name]["a"] == pytest.approx(back[name]["b"], rel=1e-6)


@pytest.mark.usefixtures("encoder")
def test_sets_compare_on_the_subsets_of_the_benchmark(a: Path, b: Path) -> None:
    row = compared(a, b, "--rewards", SET_FAD)[SET_FAD]
    reward, subsets = compose(SET_FAD), torch.from_numpy(matched_subsets(CLIPS, 2, 25, 0))
    before, after = (reward.subsets(clips_of(side))(subsets) for side in (a, b))
    wins = distribution_wins(before, after, CLIPS // 2)
    assert (row["win_rate"], row["lower"], row["trials"]) == pytest.approx((wins.rate, wins.lower, CLIPS // 2))
    assert row["compared"] == "sets of 2, by name"
    assert row["b"] == pytest.approx(float(reward.metric(clips_of(b))), rel=1e-5)
    exchanged = permutation_test(reward.subsets(Clips.concatenate([clips_of(a), clips_of(b)])), CLIPS)
    assert row["permutation_p"] == exchanged.p_value
    assert (row["controlled"], row["low"]) == (None, None)


@pytest.mark.usefixtures("encoder")
def test_confounders_are_shown_and_what_goes_with_them_is_taken_out(a: Path, tmp_path: Path) -> None:
    """B is A, every clip quieter by a random gain and a tenth of it silent."""
    b = folder(tmp_path / "b")
    gains = torch.rand(CLIPS, generator=torch.Generator().manual_seed(3)) * 0.4 + 0.2
    for file, gain in zip(sorted(b.glob("*.wav")), gains.tolist(), strict=True):
        clip = read_audio(file)[0] * gain
        clip[..., -RATE // 10 :] = 0
        write_audio(file, clip, RATE)
    row = compared(a, b, "--rewards", FAD)[FAD]
    levels = [sum(loudness(clip[0], RATE) for clip in clips_of(side).audio) / CLIPS for side in (a, b)]
    assert (row["loudness_a"], row["loudness_b"]) == pytest.approx(levels, abs=1e-3)
    assert row["loudness_b"] < row["loudness_a"] - 5
    assert (row["duration_a"], row["duration_b"], row["silence_a"]) == (1.0, 1.0, 0.0)
    assert row["silence_b"] == pytest.approx(0.1)
    assert row["controlled"] is None  # all became more silent by the same: its part cannot be told
    assert compared(a, a, "--rewards", FAD)[FAD]["controlled"] == 0.5


@pytest.mark.usefixtures("encoder")
def test_several_clips_of_one_prompt_are_one_trial(a: Path, b: Path) -> None:
    for side in (a, b):
        describe(
            side, [(file.name, f"jig {index % 3}", index) for index, file in enumerate(sorted(side.glob("*.wav")))]
        )
    rows = compared(a, b, "--rewards", FAD, "--rewards", SET_FAD)
    assert rows[FAD]["trials"] == 3
    assert rows[SET_FAD]["permutation_p"] > 0.1  # of eight exchanges


@pytest.mark.usefixtures("encoder")
def test_unpaired_clips_compare_all_with_all(a: Path, tmp_path: Path) -> None:
    b = folder(tmp_path / "b", clips=9, seed=5)
    result = run(a, b, "--rewards", FAD, "--rewards", VENDI, "--json")
    by_clip, by_set = json.loads(result.stdout)
    before, after = (compose(FAD).metric(clips_of(side)).double() for side in (a, b))
    better = float((after[:, None] < before).double().mean())
    assert 0 < better < 1
    assert by_clip["win_rate"] == pytest.approx(better)
    assert by_clip["p_value"] == pytest.approx(mannwhitneyu(-after, -before, alternative="greater").pvalue)
    assert by_clip["compared"] == "clips, unpaired"
    assert by_clip["lower"] < by_clip["win_rate"]
    assert by_clip["trials"] == 9
    assert "A has 12 clips, B 9; clips are compared unpaired" in result.stderr
    assert "rewards of sets judge 9 of each" in result.stderr
    assert (by_set["compared"], by_set["trials"]) == ("sets of 2, unpaired", 4)
    assert by_set["b"] == pytest.approx(float(compose(VENDI).metric(clips_of(b))), rel=1e-5)
    assert json.loads(run(a, b, "--rewards", VENDI, "--json").stdout) == [
        by_set | {"holm": by_set["p_value"]}
    ]  # a seeded draw


def test_pairs_are_found_by_prompt_and_seed_then_by_prompt_then_by_name(a: Path, b: Path) -> None:
    files = [f"clip-{index:02d}.wav" for index in range(CLIPS)]
    rows = [(file, f"tune {index % 4}", index) for index, file in enumerate(files)]
    assert find_sides(a, b).paired_by == "name"
    describe(a, rows)
    assert find_sides(a, b).paired_by == "name"
    describe(b, [(file, f"tune {index % 4}", index) for index, file in zip(range(CLIPS), reversed(files), strict=True)])
    by_seed = find_sides(a, b)
    assert by_seed.paired_by == "prompt and seed"
    assert [file.name for file in by_seed.b.files] == list(reversed([file.name for file in by_seed.a.files]))
    assert by_seed.a.prompts == by_seed.b.prompts
    describe(b, [(file, f"tune {3 - index % 4}", 100 + index) for index, file in enumerate(files)])
    by_prompt = find_sides(a, b)
    assert by_prompt.paired_by == "prompt"
    assert by_prompt.a.prompts == by_prompt.b.prompts
    assert [file.name for file in by_prompt.b.files[:5]] == [files[place] for place in (3, 2, 1, 0, 7)]
    describe(b, [(file, "another tune", index) for index, file in enumerate(files)])
    assert find_sides(a, b).paired_by == "name"
    (b / files[0]).rename(b / "other.wav")
    assert find_sides(a, b).paired_by is None


def test_the_default_is_what_can_judge_the_clips_and_each_is_encoded_once(
    a: Path, b: Path, suite_encoder: TwoTower, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = b.parent / "small.toml"
    slots = [CLAP_SCORE, f'{{ reward = "vendi:gone", stand_in = "{VENDI}" }}', FAD, SET_FAD, "vendi:lost"]
    text = ", ".join(slot if slot.startswith("{") else f'"{slot}"' for slot in slots)
    suite.write_text(f'[small]\nsummary = "for tests"\nslots = [{text}]\n')
    monkeypatch.setattr(verb, "SUITE", str(suite))
    result = run(a, b, "--json")
    assert [row["reward"] for row in json.loads(result.stdout)] == [VENDI, FAD, SET_FAD]
    assert f"{CLAP_SCORE} is left out: no prompt for" in result.stderr
    assert f"{VENDI} stands in for vendi:gone" in result.stderr
    assert f"vendi:lost is left out: '{suite}': unknown encoder 'lost'" in result.stderr
    assert suite_encoder.passes == 2 * -(-CLIPS // CPU_BATCH)
    for side in (a, b):
        describe(side, [(file.name, f"jig {index}", 0) for index, file in enumerate(sorted(side.glob("*.wav")))])
    assert list(compared(a, b)) == [CLAP_SCORE, VENDI, FAD, SET_FAD]


@pytest.mark.usefixtures("encoder")
def test_csv_and_table(a: Path, b: Path, tmp_path: Path) -> None:
    names = ("--rewards", FAD, "--rewards", FAD, "--rewards", VENDI)
    result = run(a, b, *names, "--csv", tmp_path / "table.csv")
    table = pd.read_csv(tmp_path / "table.csv")
    rows = compared(a, b, "--rewards", FAD, "--rewards", VENDI)
    pd.testing.assert_frame_equal(table, pd.DataFrame(rows.values()), check_dtype=False)
    tests = [rows[FAD]["p_value"], rows[VENDI]["permutation_p"]]
    assert [row["holm"] for row in rows.values()] == holm(tests).tolist()
    assert "win rate" in result.stdout
    assert "loudness (LUFS)" in result.stdout
    assert "controlled low" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= WIDTH
    wide = run(a, b, *names, "--wide").stdout
    assert "clips, by name" in wide
    assert "controlled low" in wide


def test_what_is_refused_before_anything_is_encoded(a: Path, b: Path, tmp_path: Path, encoder: TwoTower) -> None:
    assert "gone' does not exist" in refused(a, tmp_path / "gone")
    assert "did you mean" in refused(a, b, "--rewards", "per-song-fat:two@tunes")
    assert "no prompt for" in refused(a, b, "--rewards", CLAP_SCORE)
    assert "is a folder; give --csv" in refused(a, b, "--rewards", FAD, "--csv", tmp_path)
    single = folder(tmp_path / "single", clips=1)
    assert "at least 2 clips" in refused(a, single, "--rewards", FAD, "--rewards", SET_FAD)
    assert encoder.passes == 0


def test_an_encoder_whose_statistics_were_made_by_another_is_refused_first(a: Path, b: Path, encoder: TwoTower) -> None:
    encoder.identity = "projection-2"
    assert "projection-1" in refused(a, b, "--rewards", VENDI, "--rewards", FAD)
    assert encoder.passes == 0
