"""`dragon compare` on real files: how clips are paired, what is said of it, statistics, refusals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch
from registry.parts import RATE, noise
from scipy.stats import mannwhitneyu
from typer.testing import CliRunner

from dragon_rewards.audio import read_audio, write_audio
from dragon_rewards.cli import app, listing
from dragon_rewards.cli import compare as verb
from dragon_rewards.clips import Clips
from dragon_rewards.comparison import find_sides
from dragon_rewards.evaluation import distribution_wins, instance_wins, matched_subsets
from dragon_rewards.rewards import compose

if TYPE_CHECKING:
    from pathlib import Path

    from registry.parts import TwoTower
    from typer.testing import Result

FAD, SET_FAD, VENDI, CLAP_SCORE = "per-song-fad:two@tunes", "dataset-fad:two@tunes", "vendi:two", "clap-score:two"
VERBS = (listing, verb)  # their imports add them to the app, which takes no lone verb's name
CLIPS = 12


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
    assert row == {
        "reward": FAD,
        "compared": "clips, by name",
        "better": "lower",
        "a": pytest.approx(float(before.mean()), rel=1e-5),
        "b": pytest.approx(float(after.mean()), rel=1e-5),
        "win_rate": wins.rate,
        "lower": wins.lower,
        "p_value": wins.p_value,
        "trials": CLIPS,
    }


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
    assert json.loads(run(a, b, "--rewards", VENDI, "--json").stdout) == [by_set]  # the draw is seeded


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
    assert f"{CLAP_SCORE} is left out: there is no table" in result.stderr
    assert f"{VENDI} stands in for vendi:gone" in result.stderr
    assert "vendi:lost is left out: unknown encoder 'lost'" in result.stderr
    assert suite_encoder.passes == 2
    for side in (a, b):
        describe(side, [(file.name, f"jig {index}", 0) for index, file in enumerate(sorted(side.glob("*.wav")))])
    assert list(compared(a, b)) == [CLAP_SCORE, VENDI, FAD, SET_FAD]


@pytest.mark.usefixtures("encoder")
def test_csv_and_table(a: Path, b: Path, tmp_path: Path) -> None:
    result = run(a, b, "--rewards", FAD, "--rewards", FAD, "--rewards", VENDI, "--csv", tmp_path / "table.csv")
    table = pd.read_csv(tmp_path / "table.csv")
    rows = compared(a, b, "--rewards", FAD, "--rewards", VENDI)
    assert table.to_dict("records") == list(rows.values())
    assert "win rate" in result.stdout
    assert "clips, by name" in result.stdout


def test_what_is_refused_before_anything_is_encoded(a: Path, b: Path, tmp_path: Path, encoder: TwoTower) -> None:
    assert "gone' does not exist" in refused(a, tmp_path / "gone")
    assert "did you mean" in refused(a, b, "--rewards", "per-song-fat:two@tunes")
    assert "no table" in refused(a, b, "--rewards", CLAP_SCORE)
    assert "is a folder; give --csv" in refused(a, b, "--rewards", FAD, "--csv", tmp_path)
    single = folder(tmp_path / "single", clips=1)
    assert "at least 2 clips" in refused(a, single, "--rewards", FAD, "--rewards", SET_FAD)
    assert encoder.passes == 0


def test_an_encoder_whose_statistics_were_made_by_another_is_refused_first(a: Path, b: Path, encoder: TwoTower) -> None:
    encoder.identity = "projection-2"
    assert "projection-1" in refused(a, b, "--rewards", VENDI, "--rewards", FAD)
    assert encoder.passes == 0
