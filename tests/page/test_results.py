"""The page of a benchmark in a real browser: its figures are those of the tables, and it needs nothing but itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page
from scipy.special import betainc
from support.browser import watched
from support.report_pages import QUICK, figures

pytestmark = pytest.mark.slow

MEGABYTE = 1_000_000


@pytest.fixture
def opened(page: Page, quick_page: Path) -> Page:
    page.goto(quick_page.as_uri())
    page.wait_for_selector("#time svg")
    return page


def names(page: Page, selector: str) -> list[str]:
    read = "all => all.map(each => each.firstChild.textContent)"  # without notes
    shown: list[str] = page.locator(f"{selector} tbody th").evaluate_all(read)
    return shown


def test_win_rates_are_those_of_the_table(opened: Page) -> None:
    wins = pd.read_csv(QUICK / "win_rates.csv")
    columns = ["before", "after", "win_rate", "lower", "p_value", "permutation_p", "holm", "effect", "trials"]
    assert names(opened, "#wins") == list(wins["run"])
    shown = wins[[column for column in columns if column in wins]]
    assert figures(opened, "#wins") == [row.dropna().tolist() for _, row in shown.iterrows()]


def test_the_chart_shows_every_run_at_its_win_rate(opened: Page) -> None:
    wins = pd.read_csv(QUICK / "win_rates.csv")
    dots = opened.locator("#wins svg .mark-symbol.role-mark path")
    said = [dot.get_attribute("aria-label") or "" for dot in dots.all()]
    assert len(said) == len(wins)
    assert all(f"name: {run}" in label for run, label in zip(wins["run"], said, strict=True))
    places = dots.evaluate_all("all => all.map(each => each.getBoundingClientRect().x)")
    assert np.corrcoef(places, wins["win_rate"])[0, 1] == pytest.approx(1, abs=1e-4)


def test_the_heat_map_is_the_table_of_cross_effects(opened: Page) -> None:
    cross = pd.read_csv(QUICK / "cross_effects.csv", index_col="run")
    wins = pd.read_csv(QUICK / "win_rates.csv")
    assert figures(opened, "#cross") == cross.loc[wins["run"]].to_numpy().tolist()
    assert opened.locator("#cross .own").count() == len(wins)
    colour = "cell => getComputedStyle(cell).backgroundColor"
    assert opened.locator("#cross .w10").first.evaluate(colour) != opened.locator("#cross .noise").first.evaluate(
        colour
    )


def test_the_heat_map_greys_what_is_within_noise(opened: Page) -> None:
    """By the exact binomial interval, of 192 prompts or of 16 disjoint subsets."""
    cells = opened.locator("#cross td").evaluate_all(
        "all => all.map(each => [Number(each.textContent), each.className])"
    )
    columns = opened.locator("#cross thead th").all_text_contents()[1:]
    for place, (rate, look) in enumerate(cells):
        trials = 192 if columns[place % 20].startswith(("per-song", "clap-score", "aesthetics")) else 16
        wins = max(rate, 1 - rate) * trials
        p = float(betainc(wins, trials - wins + 1, 0.5)) if wins < trials else 0.5**trials
        if abs(p - 0.05) > 0.015:  # the page rounds rates to two digits
            assert ("noise" in look) == (p > 0.05), (rate, columns[place % 20], look)


def test_distributions_and_diversity_are_those_of_the_scores(opened: Page) -> None:
    scores = pd.read_parquet(QUICK / "scores.parquet")
    clips = scores[(scores["reward"] == "clap-score:clap") & scores["run"].isin(["baseline", "clap-score:clap"])]
    means = clips.groupby("run")["value"].mean()
    shown = figures(opened, "#distributions .chart:nth-of-type(2)")
    expected = [means["baseline"], means["clap-score:clap"], means["clap-score:clap"] - means["baseline"]]
    assert [row[0] for row in shown] == pytest.approx(expected)
    assert [row[-1] for row in shown] == [192, 192, 192]
    whole = scores[(scores["reward"] == "vendi:clap") & (scores["prompt_id"] == "all")].set_index("run")["value"]
    runs = names(opened, "#diversity")
    untuned = whole["baseline"]
    assert figures(opened, "#diversity") == [[untuned, whole[run], whole[run] - untuned] for run in runs]
    assert len(runs) == len(whole) - 1


def test_the_axis_of_diversity_begins_where_all_clips_are_the_same(opened: Page) -> None:
    assert opened.locator("#diversity svg .role-axis-label text").first.text_content() == "1"


def test_time_adds_up(opened: Page) -> None:
    for name, row in zip(names(opened, "#time"), figures(opened, "#time"), strict=True):
        metrics = pd.read_csv(next(QUICK.glob(f"{name.replace(':', '+', 1)}/metrics.csv")))
        spent = metrics.filter(regex="_s$").to_numpy().sum()
        assert row[-1] == pytest.approx(spent)


def test_every_chart_of_the_page_is_drawn_and_has_a_name(opened: Page) -> None:
    shown = opened.locator(".chart:visible")
    assert shown.count() > 25
    assert opened.locator(".chart:visible .plot[aria-label] svg").count() == shown.count()


def test_a_run_is_chosen_by_keyboard(opened: Page) -> None:
    assert opened.locator(".run:visible .name").text_content() == "aesthetics:clap"
    opened.focus("#choice")
    opened.keyboard.press("ArrowDown")
    opened.wait_for_selector(".run:visible svg")
    assert opened.locator(".run:visible").count() == 1
    assert opened.locator(".run:visible .name").text_content() == "clap-score:clap"
    steps = figures(opened, ".run:visible details:first-of-type")
    assert steps == pd.read_csv(QUICK / "clap-score+clap" / "metrics.csv").to_numpy().tolist()


def test_without_weights_it_says_so_and_what_to_do(opened: Page) -> None:
    note = opened.locator("#runs [role=note]").text_content()
    assert note is not None
    assert "no weights" in note
    assert "dragon bench" in note
    assert opened.locator("audio").count() == 0


def test_it_follows_a_change_to_the_dark_scheme(opened: Page) -> None:
    light = opened.locator("#wins svg text").first.get_attribute("fill")
    opened.emulate_media(color_scheme="dark")
    opened.wait_for_selector(f"#wins svg text:not([fill='{light}'])")
    background = opened.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert background == "rgb(20, 23, 27)"


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_telephone_scrolls_in_one_direction_only(opened: Page, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 800})
    opened.reload()
    opened.wait_for_selector("#time svg")
    assert opened.evaluate("document.documentElement.scrollWidth") == width


def test_it_asks_for_nothing(browser: Browser, quick_page: Path) -> None:
    asked: list[str] = []
    with watched(browser) as page:
        page.on("request", lambda request: asked.append(request.url))
        page.goto(quick_page.as_uri())
        page.wait_for_selector("#time svg")
    assert asked == [quick_page.as_uri()]


@pytest.mark.parametrize(
    "attempt",
    [
        "fetch('http://localhost:9/').catch(() => 0)",
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"http://localhost:9/x.png\">')",
        "document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">')",
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))",
    ],
    ids=["fetch", "image", "style", "script"],
)
def test_its_policy_forbids_what_is_not_its_own(browser: Browser, quick_page: Path, attempt: str) -> None:
    def attack() -> None:
        with watched(browser) as page:
            page.goto(quick_page.as_uri())
            page.evaluate(attempt)
            page.wait_for_timeout(100)

    with pytest.raises(AssertionError, match="Content Security Policy"):
        attack()


def test_it_is_small(quick_page: Path) -> None:
    assert quick_page.stat().st_size < 3 * MEGABYTE
