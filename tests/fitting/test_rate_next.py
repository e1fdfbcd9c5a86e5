"""`dragon rate-next`: clips of a folder to rate next, for a reward that was fitted to ratings."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from support.cli import Dragon, Refused, Rows

from dragon_rewards.encoders.spectral import LogMel

REWARD = "aesthetics-mine:logmel"


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory, rated: Path) -> Path:
    """Tones under little noise, as some rated clips are, chords of a new kind without any, and a rated clip."""
    folder, draw = tmp_path_factory.mktemp("pool"), np.random.default_rng(1)
    time = np.arange(16_000) / 16_000
    for index in range(4):
        tone = 0.3 * np.sin(2 * np.pi * (250 + 100 * index) * time) + 0.03 * draw.standard_normal(16_000)
        soundfile.write(folder / f"tone{index}.wav", tone, 16_000)
        chord = sum(0.1 * np.sin(2 * np.pi * pitch * time) for pitch in (3000 + index, 4500, 6000))
        soundfile.write(folder / f"chord{index}.wav", chord, 16_000)
    shutil.copy(rated.parent / "7.wav", folder / "rated.wav")
    return folder


def kinds(found: list[dict[str, object]]) -> list[str]:
    return [Path(str(row["path"])).stem.rstrip("0123456789") for row in found]


def test_what_may_be_best_is_proposed(rated: Path, pool: Path, dragon: Dragon, rows: Rows, tmp_path: Path) -> None:
    dragon("fit-ratings", rated, "--encoder", "logmel")
    ask = ("rate-next", pool, "--reward", REWARD)
    greedy = rows(*ask, "--count", 4, "--kappa", 0)
    scores = {row["path"]: row["value"] for row in rows("score", REWARD, pool)}
    best = sorted((path for path in scores if "rated" not in path), key=lambda path: -scores[path])[:4]
    assert [row["path"] for row in greedy] == best
    assert [row["predicted"] for row in greedy] == pytest.approx([scores[path] for path in best], abs=1e-4)
    optimistic = rows(*ask, "--count", 8, "--kappa", 100, "--csv", tmp_path / "next.csv")
    assert kinds(optimistic)[0] == "chord"
    assert kinds(optimistic)[:3].count("chord") == 1  # the four are alike
    assert all(row["optimistic"] == row["predicted"] + 100 * row["deviation"] for row in optimistic)
    assert "rated" not in kinds(optimistic)
    assert pd.read_csv(tmp_path / "next.csv")["path"].tolist() == [row["path"] for row in optimistic]


def test_people_are_told_what_is_left_out_and_what_to_do(rated: Path, pool: Path, dragon: Dragon) -> None:
    dragon("fit-ratings", rated, "--encoder", "logmel")
    said = dragon("rate-next", pool, "--reward", REWARD, "--count", 2)
    assert "left out, as they are rated: 1 clip\n" in said.stderr
    assert said.stdout.endswith("\nRate them, add them to mine.csv, and fit the reward again with --overwrite.\n")


def test_ratings_of_what_was_proposed_change_what_is_proposed(
    rated: Path, pool: Path, dragon: Dragon, rows: Rows
) -> None:
    dragon("fit-ratings", rated, "--encoder", "logmel")
    ask = ("rate-next", pool, "--reward", REWARD, "--count", 1, "--kappa", 100)
    (first,) = rows(*ask)
    more = pd.DataFrame([{"path": first["path"], "rating": 1.0, "prompt": "prompt 0"}])
    pd.concat([pd.read_csv(rated), more]).to_csv(rated.with_name("more.csv"), index=False)
    dragon("fit-ratings", rated.with_name("more.csv"), "--encoder", "logmel", "--name", "mine", "--overwrite")
    (second,) = rows(*ask)
    assert kinds([first, second]) == ["chord", "tone"]


def test_what_cannot_be_proposed_is_refused(
    rated: Path, pool: Path, dragon: Dragon, refused: Refused, tmp_path: Path
) -> None:
    ask = ("rate-next", pool, "--reward")
    assert "make one of ratings first" in refused(*ask, "vendi:logmel")
    dragon("fit-ratings", rated, "--encoder", "logmel")
    votes = pd.DataFrame(
        [{"path_a": f"{k}.wav", "path_b": f"{k + 1}.wav", "preferred": "ab"[k % 2]} for k in range(12)]
    )
    votes.to_csv(rated.with_name("few.csv"), index=False)
    dragon("fit-preferences", rated.with_name("few.csv"), "--encoder", "logmel", "--name", "votes")
    assert f"was fitted to preferences; name one of {REWARD}" in refused(*ask, "aesthetics-votes:logmel")
    assert "is no reward of `dragon fit-ratings`" in refused(*ask, "clap-score:clap")
    assert "works only with encoder logmel" in refused(*ask, "aesthetics-mine:chroma")
    for kappa in ("nan", "inf", "-1"):
        assert "Invalid value for '--kappa'" in refused(*ask, REWARD, "--kappa", kappa)
    assert "10 clips to propose, and there are 9 files; ask for at most 9" in refused(*ask, REWARD)
    assert "9 clips to propose, and there are 9 files, 1 of them rated; ask for at most 8, or add clips" in refused(
        *ask, REWARD, "--count", 9
    )
    one = ("rate-next", pool / "rated.wav", "--reward", REWARD, "--count", 1)
    assert "1 clip to propose, and there is 1 file, 1 of them rated; add clips" in refused(*one)
    (tmp_path / "empty").mkdir()
    assert "holds no audio" in refused("rate-next", tmp_path / "empty", "--reward", REWARD)
    assert "'nope' does not exist" in refused("rate-next", "nope", "--reward", REWARD)


def test_ratings_are_not_written_over(
    rated: Path, pool: Path, dragon: Dragon, refused: Refused, tmp_path: Path
) -> None:
    dragon("fit-ratings", rated, "--encoder", "logmel")
    ask, table = ("rate-next", pool, "--reward", REWARD, "--count", 1, "--csv"), tmp_path / "next.csv"
    for _ in range(2):  # its own table is replaced
        assert dragon(*ask, table).exit_code == 0
    before = rated.read_text(encoding="utf-8")
    assert "mine.csv' is there and has no column optimistic, which this command writes" in refused(*ask, rated)
    assert rated.read_text(encoding="utf-8") == before
    pd.read_csv(table).assign(rating=4).to_csv(table, index=False)
    assert "next.csv' is there and has ratings; give --csv another path" in refused(*ask, table)
    assert "rating" in pd.read_csv(table)


def test_another_fit_of_the_encoder_is_refused(
    rated: Path, pool: Path, dragon: Dragon, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    dragon("fit-ratings", rated, "--encoder", "logmel")
    monkeypatch.setattr(LogMel, "identity", "another")
    said = refused("rate-next", pool, "--reward", REWARD)
    assert "head 'mine' was fitted with other weights of encoder 'logmel'" in said


def test_a_ridge_that_no_fit_has_is_refused(rated: Path, pool: Path, dragon: Dragon, sets: Path) -> None:
    dragon("fit-ratings", rated, "--encoder", "logmel")
    record = sets.parent / "heads" / "mine" / "head.json"
    text = record.read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if '"ridge"' in line]
    record.write_text(text.replace(line, '  "ridge": 0.0,'), encoding="utf-8")
    result = dragon("rate-next", pool, "--reward", REWARD)
    assert result.exit_code == 2
    assert "the ridge of a head is 0, and has to be above 0" in result.stderr
