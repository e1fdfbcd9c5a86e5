"""What pages show of the tables that a benchmark may have, of changes with intervals, and of several seeds."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Page
from support.cli import dragon
from support.report_pages import CEILINGS, HEADLINE, QUICK, figures, later_benchmark

from dragon_train.bench.report.build import benchmark_sections
from dragon_train.bench.report.comparison import benchmark_facts, changes_section, wins_section
from dragon_train.bench.report.facets import facets_section
from dragon_train.bench.report.media import PageClip
from dragon_train.bench.report.pairs import Pair, PairSet
from dragon_train.bench.report.source import FACETS, BenchmarkTables, read_benchmark
from dragon_train.bench.report.view import Table

SEEDS = """\
run,seeds,change,change_sd,win_rate,win_rate_sd
aesthetics:clap,2,0.14,0.02,0.85,0.03
<b>vendi:clap</b>,2,0.3,0.1,0.76,0.05
"""


@pytest.fixture(name="later", scope="module")
def written_later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return later_benchmark(tmp_path_factory.mktemp("later") / "bench")


@pytest.fixture(name="tables", scope="module")
def read_later(later: Path) -> BenchmarkTables:
    return read_benchmark(later)


def win_table(tables: BenchmarkTables) -> Table:
    (chart,) = wins_section(tables).charts
    assert chart.table is not None
    return chart.table


def test_changes_lead_and_count_what_has_an_interval(tables: BenchmarkTables) -> None:
    assert [section.name for section in benchmark_sections(tables, {})] == [
        *("change", "wins", "headline", "ceilings", "carried", "collateral", "confounders", "facets"),
        *("cross", "distributions", "diversity"),
    ]
    first = benchmark_facts((), tables.wins)[0]
    assert (first.term, first.cell.text) == ("rewards that improved beyond noise", "10 of 10")
    assert first.cell.note == "10 others have no interval"


def test_changes_stand_in_the_table_of_win_rates_with_their_intervals(tables: BenchmarkTables) -> None:
    table, wins = win_table(tables), tables.wins
    cells = [row[table.columns.index("change")] for row in table.rows]
    assert [cell.value for cell in cells] == wins["change"].tolist()
    assert [bool(cell.note) for cell in cells] == wins["change_low"].notna().tolist()
    assert cells[0].note == f"{wins['change_low'][0]:+.3f} to {wins['change_high'][0]:+.3f}"
    assert not any("_" in column for column in table.columns)


def test_a_change_within_noise_is_grey_in_table_and_chart(tables: BenchmarkTables) -> None:
    wins = tables.wins.copy()
    wins.loc[0, ["change_low", "change_high"]] = -0.1, 0.4
    table, changes = win_table(replace(tables, wins=wins)), changes_section(wins)
    assert changes is not None
    looks = [row[table.columns.index("change")].look for row in table.rows]
    assert looks == ["noise"] + [""] * 19
    (drawn,) = [rows for rows in changes.charts[0].spec["datasets"].values() if "evidence" in rows[0]]
    assert [row["evidence"] for row in drawn][:3] == ["within noise", "beyond noise", "without interval"]


def test_an_older_folder_leads_with_win_rates() -> None:
    wins = read_benchmark(QUICK).wins
    assert changes_section(wins) is None
    assert benchmark_facts((), wins)[0].term == "mean win rate"


def clip(audio: str) -> PageClip:
    return PageClip(audio, "data:image/png,", 1.0, 8000.0, (), (), 10)


def test_facets_are_shown_run_by_run_with_what_was_found_and_sound_where_there_is_some(
    tables: BenchmarkTables,
) -> None:
    pair = Pair("a jig", 1, clip("data:audio/mpeg,before"), clip("data:audio/mpeg,after"), ())
    section = facets_section(tables.further[FACETS], {"vendi:clap": PairSet((pair,), ())})
    assert section.notes[1] == (
        "In 1 of 2 runs one facet has come to take more than half of the clips; in 1 of 2 more clips than before are "
        "far from every facet."
    )
    assert section.table is not None
    assert [[cell.text for cell in row[:4]] for row in section.table.rows] == [
        ["aesthetics:clap", "facet 1", "55.0%", "90.0%"],
        ["aesthetics:clap", "far", "1.0%", "30.0%"],
    ]
    vendi, aesthetics = (chart.table for chart in section.charts)
    assert vendi is not None
    assert aesthetics is not None
    assert [[cell.audio for cell in row if cell.audio] for row in vendi.rows] == [
        ["data:audio/mpeg,before"],
        [],
        ["data:audio/mpeg,after"],
    ]
    assert not any(cell.audio for row in aesthetics.rows for cell in row)
    assert aesthetics.rows[0][0].note == "takes 90% of the tuned clips, 55% of the untuned ones"
    unfound = tables.further[FACETS].assign(finding=float("nan"))
    assert facets_section(unfound, {}).table is None


@pytest.mark.slow
def test_the_page_of_later_tables(page: Page, later: Path, tmp_path: Path) -> None:
    done = dragon("report", later, "--pairs", 0, "--out", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_selector("#time svg")
    assert figures(page, "#ceilings")[0] == [3.9, 3.7, 3.19, 3.33, 0.197]
    without = page.locator("#ceilings tr.noise th")
    assert without.all_text_contents() == ["per-song-fad:clap@airs"]
    headroom = page.locator("#ceilings tbody td:nth-last-child(2)").all_text_contents()
    assert headroom == ["yes", "yes", "no", "not known: its exemplar set holds no music"]
    assert page.locator("#ceilings svg .mark-symbol.role-mark path").count() == 2
    assert len(CEILINGS.splitlines()) - 1 == page.locator("#ceilings tbody tr").count()
    assert page.locator("#collateral tbody th").first.text_content() == "untuned model"
    assert page.locator("#collateral thead th").all_text_contents()[1:] == [
        "notes per second",
        "share of clipped samples",
    ]
    assert figures(page, "#headline") == [[20, 0.857], [2, 0.31]]
    assert len(HEADLINE.splitlines()) - 1 == page.locator("#headline tbody tr").count()
    assert page.locator("#facets svg").count() == 2
    assert "a <b>reel</b> (seed 2)" in page.locator("#facets details td").all_text_contents()
    assert page.locator("#change svg .mark-symbol.role-mark path").count() == 20
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.slow
def test_the_page_over_seeds_has_their_table_and_leads_to_their_pages(page: Page, tmp_path: Path) -> None:
    for seed in ("seed-0", "seed-10", "seed-3"):
        (tmp_path / "bench" / seed).mkdir(parents=True)
    (tmp_path / "bench" / "seeds.csv").write_text(SEEDS)
    (tmp_path / "bench" / "headline.csv").write_text(HEADLINE)
    (tmp_path / "bench" / "seed-0" / "report.html").write_text("<title>seed 0</title>")
    done = dragon("report", tmp_path / "bench", "--out", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    page.goto((tmp_path / "page.html").as_uri())
    assert page.title() == "Benchmark over 3 seeds"
    assert figures(page, "#seeds") == [[2, 0.14, 0.85], [2, 0.3, 0.76]]
    assert page.locator("#seeds tbody th").nth(1).text_content() == "<b>vendi:clap</b>"
    assert "± 3.0% between seeds" in page.locator("#seeds tbody td small").all_text_contents()
    assert page.locator("#pages tbody th").all_text_contents() == ["0", "3", "10"]
    assert "dragon report" in str(page.locator("#pages tbody td").nth(1).text_content())
    page.get_by_role("link", name="seed-0/report.html").click()
    assert page.title() == "seed 0"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("ceilings.csv", "run,share\na,1\n", "ceilings.csv' has no column"),
        ("collateral.csv", "run,notes\na,many\n", "column 'notes' must hold numbers"),
        ("headline.csv", "", "headline.csv' cannot be read"),
        ("facets.csv", "run,facet\na,far\n", "facets.csv' has no column 'clip_1'"),
        ("win_rates.csv", None, "column 'change' must hold numbers"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(
    later: Path, tmp_path: Path, name: str, text: str | None, said: str
) -> None:
    shutil.copytree(later, tmp_path / "bench")
    table = tmp_path / "bench" / name
    if text is None:
        pd.read_csv(table).assign(change="much").to_csv(table, index=False)
    else:
        table.write_text(text)
    refused = dragon("report", tmp_path / "bench", "--pairs", 0)
    assert refused.exit_code == 2
    assert said in " ".join(refused.output.split())
