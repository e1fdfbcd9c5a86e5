"""Facets of what scores high: planted ones are found, either kind of hack is told, and a benchmark has their table."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from support.cli import dragon
from support.pipelines import build

from dragon_rewards.metrics import Facets
from dragon_train.bench.facets import FAR, Sides, best_facets, distances, facet_rows, gained, section, silhouette
from dragon_train.bench.result_files import EMBEDDINGS, SCORES

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
CLIPS, DIM, APART = 192, 12, 8.0
MODES = APART * torch.eye(2, DIM, dtype=torch.float64)  # where the planted reward is highest
PRESET = """
heldout_prompts = 48
inference_steps = 2
subset_size = 12
rounds = 2
[train]
steps = 1
prompts_per_step = 2
epochs = 1
demonstration_steps = 2
learning_rate = 1e-3
"""
SUITE = """
[small]
summary = "a reward of clips and one of sets"
slots = ["per-song-fad:logmel@airs", "vendi:logmel"]
"""


def drawn(shares: tuple[float, float], seed: int) -> Tensor:
    """Clips of the two modes, these shares of them, and for the rest around a place between and apart from both."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.cat([MODES, -MODES.mean(0, keepdim=True)])
    chances = torch.tensor([*shares, 1 - sum(shares)]).expand(CLIPS, 3)
    which = torch.multinomial(chances, 1, generator=generator)[:, 0]
    return centres[which] + torch.randn(CLIPS, DIM, generator=generator, dtype=torch.float64)


def planted(points: Tensor) -> Tensor:
    """A reward of two modes: the nearer to one of them the better."""
    return -torch.cdist(points, MODES).amin(1)


def sides(after: Tensor, seed: int = 0) -> Sides:
    """An untuned model of which a fifth is of one mode and a fifth of the other, and a tuned one."""
    before = drawn((0.2, 0.2), seed)
    return Sides(before, after, planted(before), [f"clip {place}" for place in range(CLIPS)])


def by_facet(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["facet"]: row for row in rows}


@pytest.mark.parametrize("seed", range(5))
def test_both_facets_of_a_reward_of_two_modes_are_found(seed: int) -> None:
    before = drawn((0.2, 0.2), seed)
    high = before[planted(before).argsort(descending=True)[: CLIPS // 4]]
    facets = best_facets(high)
    assert facets is not None
    assert len(facets.centroids) == 2
    assert torch.cdist(facets.centroids, MODES).amin(0).max() < 1
    rows = by_facet(facet_rows(sides(drawn((0.2, 0.2), seed + 100), seed)))
    assert list(rows) == ["facet 1", "facet 2", FAR]
    assert not any(row["finding"] for row in rows.values())
    for facet, centroid in zip(("facet 1", "facet 2"), facets.centroids, strict=True):
        shown = [int(rows[facet][f"clip_{place}"].removeprefix("clip ")) for place in (1, 2, 3)]
        gaps = (before[shown] - centroid).norm(dim=1)
        assert gaps.max() < (MODES[0] - MODES[1]).norm() / 2
        assert (gaps.diff() >= 0).all()


def test_a_run_that_dropped_a_mode_is_told() -> None:
    rows = by_facet(facet_rows(sides(drawn((0.0, 0.95), 7))))
    taken = [row for row in rows.values() if row["tuned"] > 0.8]
    assert len(taken) == 1
    assert (
        taken[0]["finding"] == f"takes {taken[0]['tuned']:.0%} of the tuned clips, {taken[0]['untuned']:.0%} of the "
        "untuned ones"
    )
    assert rows["facet 1"]["tuned"] + rows["facet 2"]["tuned"] == pytest.approx(1)
    assert not rows[FAR]["finding"]
    text = section(pd.DataFrame([{"run": "planted", **row} for row in rows.values()]))
    assert "In 1 of 1 run one facet has come to take more than half of the clips; in 0 of 1 more" in text
    assert text.count("| planted") == 1


def test_generations_that_are_like_nothing_before_are_counted_and_shown() -> None:
    after = drawn((0.2, 0.2), 7)
    strange = torch.arange(0, CLIPS, 3)
    after[strange, -1] += 40 + strange
    rows = by_facet(facet_rows(sides(after)))
    assert rows[FAR]["untuned"] <= 2 / CLIPS
    assert 1 / 3 <= rows[FAR]["tuned"] < 1 / 3 + 0.03
    assert "33% of the tuned clips are like nothing" in rows[FAR]["finding"] or "34%" in rows[FAR]["finding"]
    assert [rows[FAR][f"clip_{place}"] for place in (1, 2, 3)] == ["clip 189", "clip 186", "clip 183"]


def test_a_model_that_has_not_changed_is_not_accused() -> None:
    """Of 20 pairs of draws from one distribution, 10% at most are findings by chance: seven are one in 400."""
    found = [any(row["finding"] for row in facet_rows(sides(drawn((0.2, 0.2), 1000 + s), s))) for s in range(20)]
    assert sum(found) < 7
    same = sides(drawn((0.2, 0.2), 0))
    assert all(row["untuned"] == row["tuned"] and row["p_value"] == 1 for row in facet_rows(same))


def test_clips_that_are_alike_have_no_facets() -> None:
    points = torch.ones(CLIPS, DIM, dtype=torch.float64)
    assert facet_rows(Sides(points, points, torch.zeros(CLIPS), ["a"] * CLIPS)) == []


def test_scale_and_place_do_not_matter() -> None:
    given_sides = sides(drawn((0.1, 0.5), 3))
    moved = Sides(5 * given_sides.before + 9, 5 * given_sides.after + 9, given_sides.credits, given_sides.names)
    assert facet_rows(given_sides) == facet_rows(moved)


@given(st.integers(0, 99), st.integers(2, 4))
def test_the_silhouette_is_the_mean_over_points_of_its_definition(seed: int, count: int) -> None:
    points = torch.randn(14, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    facets = Facets.fit(points, count)
    labels, worth = distances(points, facets).argmin(1).tolist(), []
    for at, label in enumerate(labels):
        groups: dict[int, list[float]] = {}
        for other, of in enumerate(labels):
            if other != at:
                groups.setdefault(of, []).append(float((points[at] - points[other]).norm()))
        if label not in groups:
            worth.append(0.0)
            continue
        means = {of: sum(gaps) / len(gaps) for of, gaps in groups.items()}
        own, least = means.pop(label), min(means.values())
        worth.append((least - own) / max(own, least))
    assert silhouette(points, facets) == pytest.approx(sum(worth) / len(worth), abs=1e-9)


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_p_value_is_the_binomial_tail(came: int, went: int) -> None:
    from math import comb

    total = came + went
    assert gained(came, went) == pytest.approx(sum(comb(total, k) for k in range(came, total + 1)) / 2**total)


@pytest.fixture(name="bench", scope="module")
def finished_benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("facets")
    (folder / "preset.toml").write_text(PRESET)
    (folder / "suite.toml").write_text(SUITE)
    build("stable-audio").save_pretrained(folder / "tiny")
    done = benchmarked(folder / "bench", folder)
    assert done.exit_code == 0, done.output
    return folder / "bench"


def benchmarked(out: Path, folder: Path) -> Any:
    """Run the benchmark of the settings in a folder."""
    files = "--preset", folder / "preset.toml", "--suite", folder / "suite.toml"
    return dragon("bench", *files, "--pipeline", folder / "tiny", "--workers", 1, "--out", out)


@pytest.mark.slow
def test_a_benchmark_has_the_facets_of_every_run_from_what_it_keeps(bench: Path) -> None:
    table = pd.read_csv(bench / "facets.csv")
    assert list(table["run"].unique()) == ["per-song-fad:logmel@airs", "vendi:logmel"]
    for _, rows in table.groupby("run"):
        assert rows["facet"].tolist()[-1] == FAR
        assert len(rows) - 1 == 2  # of twelve clips that score high
        assert rows.loc[rows["facet"] != FAR, ["untuned", "tuned"]].sum().tolist() == pytest.approx([1, 1])
    assert (bench / "facets.md").is_file()
    assert "## Facets" in (bench / "README.md").read_text()
    before = {name: (bench / name).read_bytes() for name in ("facets.csv", "facets.md", "README.md")}
    stamps = {path: path.stat().st_mtime_ns for path in bench.glob(f"*/{EMBEDDINGS}")}
    assert len(stamps) == 3
    (bench / "facets.csv").unlink()
    assert benchmarked(bench, bench.parent).exit_code == 0
    assert before == {name: (bench / name).read_bytes() for name in before}
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}  # nothing was generated again


@pytest.mark.slow
def test_a_run_of_before_embeddings_were_kept_has_no_rows(bench: Path, tmp_path: Path) -> None:
    shutil.copytree(bench, tmp_path / "bench")
    (tmp_path / "bench" / "per-song-fad+logmel@airs" / EMBEDDINGS).unlink()
    assert benchmarked(tmp_path / "bench", bench.parent).exit_code == 0
    assert pd.read_csv(tmp_path / "bench" / "facets.csv")["run"].unique().tolist() == ["vendi:logmel"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frames: frames * float("nan"), "NaN or infinite values in frames logmel"),
        (lambda frames: frames[:-1], "is not of 48 clips"),
        (lambda frames: frames[:, :5].contiguous(), "embeddings that 'per-song-fad:logmel@airs' refuses"),
    ],
)
def test_embeddings_that_were_changed_are_refused_by_name(bench: Path, tmp_path: Path, change: Any, said: str) -> None:
    shutil.copytree(bench, tmp_path / "bench")
    path = tmp_path / "bench" / "per-song-fad+logmel@airs" / EMBEDDINGS
    tensors = load_file(path)
    save_file(tensors | {"frames logmel": change(tensors["frames logmel"])}, path)
    done = benchmarked(tmp_path / "bench", bench.parent)
    assert done.exit_code != 0
    text = " ".join(done.stderr.split())
    assert said in text
    assert EMBEDDINGS in text
    assert f"delete it and {SCORES} beside it" in text
