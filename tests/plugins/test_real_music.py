"""The music of two games: `musicnn` knows it again, and what encoders hear of it is what the record says."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from support.installation import ROOT

pytestmark = pytest.mark.slow

PACKAGES = {"singularity": "singularity-music", "warzone2100": "warzone2100-music"}
TRACKS, SECONDS = 16, 12.0


@pytest.fixture
def music(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Path]]:
    """Tracks by game; the report's module finds them, and the plugin's is imported from where it lies."""
    for folder in ("reports/musicnn", "reports/hearing", "plugins/dragon-reward-musicnn"):
        monkeypatch.syspath_prepend(str(ROOT / folder))
    from music import tracks

    found = {name: tracks(name)[:TRACKS] for name in PACKAGES}
    lacking = [package for name, package in PACKAGES.items() if not found[name]]
    if lacking:
        pytest.skip(f"no music here: apt-get install {' '.join(lacking)}")
    return found


def test_held_out_tracks_rank_nearer_to_their_own_game(music: dict[str, list[Path]]) -> None:
    from dragon_reward_musicnn import Musicnn
    from ranking import ranking

    found = ranking(Musicnn(), music, SECONDS)
    assert sum(found.values()) / len(found) > 0.75  # 0.82: of one game 1.00, of the other, with 8 tracks, 0.64


@pytest.mark.usefixtures("music")
def test_what_logmel_hears_of_the_games_is_what_the_record_says() -> None:
    import judge

    own, other = map(judge.music, judge.GAMES)
    (found,) = judge.judged(["logmel"], own, other).to_dict("records")
    record = pd.read_csv(ROOT / "reports/hearing/judged.csv")
    (said,) = record[(record["set"] == judge.GAMES[0]) & (record["encoder"] == "logmel")].to_dict("records")
    assert (found["hears"], found["tracks"]) == (said["hears"], said["tracks"])
    assert found["auc"] == pytest.approx(said["auc"], abs=0.03)  # two of 128 comparisons may change sides
    for name in ("between", "within", "noise", "low_pass", "pitch_shift"):
        assert found[name] == pytest.approx(said[name], rel=0.02, abs=0.02)
