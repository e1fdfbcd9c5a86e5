"""The page of a run in a real browser: pairs of clips that play and sort, and prompts that stay text."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Page
from support.accessibility import nodes, unnamed
from support.report_pages import HOSTILE, figures

pytestmark = pytest.mark.slow

FOCUSABLE = "a, button, select, summary, audio, [tabindex]"


@pytest.fixture
def opened(page: Page, run_page: Path) -> Page:
    page.goto(run_page.as_uri())
    page.wait_for_selector("#time svg")
    return page


def improvements(page: Page) -> list[float]:
    return [row[0] for row in figures(page, ".pairs")]


def prompts(page: Page) -> list[str | None]:
    return [cell.get_attribute("data-key") for cell in page.locator(".pairs tbody th").all()]


def test_prompts_are_text(opened: Page) -> None:
    assert sorted(map(str, prompts(opened))) == sorted(HOSTILE)
    for cell in opened.locator(".pairs tbody th").all():
        assert str(cell.get_attribute("data-key")) in str(cell.text_content())
    assert opened.evaluate("window.hacked") is None
    assert opened.locator("img:not([src^='data:'])").count() == 0


def test_pairs_start_with_the_most_improved_and_sort_both_ways(opened: Page) -> None:
    header = opened.locator(".pairs th").nth(1)
    assert header.get_attribute("aria-sort") == "descending"
    assert improvements(opened) == sorted(improvements(opened), reverse=True)
    assert len(set(improvements(opened))) == len(HOSTILE)
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert improvements(opened) == sorted(improvements(opened))
    header.get_by_role("button").click()
    assert improvements(opened) == sorted(improvements(opened), reverse=True)


def test_pairs_sort_by_prompt_from_the_keyboard(opened: Page) -> None:
    button = opened.locator(".pairs th button").first
    button.focus()
    opened.keyboard.press("Enter")
    ascending = prompts(opened)
    opened.keyboard.press("Space")
    assert prompts(opened) == ascending[::-1]
    assert ascending != ascending[::-1]
    assert opened.locator(".pairs th[aria-sort]").count() == 1
    assert opened.locator("[role=status]").text_content() == "Sorted by Prompt, descending"


def test_a_clip_plays_alone(opened: Page) -> None:
    """Playing the second stops the first."""
    assert play(opened, 0) == pytest.approx(5, abs=0.2)
    play(opened, 1)
    assert opened.evaluate("document.querySelectorAll('audio')[0].paused")


def play(page: Page, number: int) -> float:
    """Play a clip until it has advanced; its length in seconds."""
    seconds: float = (
        page.locator("audio")
        .nth(number)
        .evaluate(
            """audio => new Promise(done => {
            audio.ontimeupdate = () => audio.currentTime > 0.1 && done(audio.duration);
            audio.play();
        })"""
        )
    )
    return seconds


def test_every_pair_has_two_sounds_two_pictures_and_its_figures(opened: Page) -> None:
    rows = opened.locator(".pairs tbody tr").all()
    assert len(rows) == len(HOSTILE)
    for row, values in zip(rows, figures(opened, ".pairs"), strict=True):
        assert row.locator("audio[aria-label]").count() == 2
        pictures = row.locator("img")
        assert pictures.evaluate_all("all => all.every(each => each.complete && each.naturalWidth > 200 && each.alt)")
        fad_gain, vendi_gain, fad_before, vendi_before, fad_after, vendi_after = values
        assert fad_gain == pytest.approx(fad_before - fad_after)  # lower is better
        assert vendi_gain == pytest.approx(vendi_after - vendi_before)


def test_everything_has_a_name_for_screen_readers(opened: Page) -> None:
    opened.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert unnamed(opened) == []
    told = nodes(opened, {"Audio", "table", "columnheader"})
    assert len([role for role, _ in told if role == "Audio"]) == 2 * len(HOSTILE)
    assert ("columnheader", "Prompt") in told
    assert any(role == "table" and name.startswith("Pairs of clips of") for role, name in told)


def test_the_keyboard_reaches_everything(opened: Page) -> None:
    opened.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    wanted = opened.locator(FOCUSABLE).count()
    opened.evaluate(
        "window.reached = new Set(); document.addEventListener('focusin', event => reached.add(event.target))"
    )
    for _ in range(8 * wanted):  # an audio element has several stops of its own
        opened.keyboard.press("Tab")
        if opened.evaluate("reached.size") == wanted:
            break
    assert opened.evaluate(f"[...document.querySelectorAll('{FOCUSABLE}')].every(each => reached.has(each))")


def test_curves_are_those_of_the_metrics(opened: Page, run: Path) -> None:
    metrics = pd.read_csv(run / "metrics.csv")
    assert figures(opened, "#run-1 > details") == metrics.to_numpy().tolist()
    assert opened.locator("#run-1 .cards .chart svg").count() == opened.locator("#run-1 .cards .chart").count() > 5


def test_heldout_win_rates_have_bounds(opened: Page, run: Path) -> None:
    last = pd.read_csv(run / "metrics.csv").iloc[-1]
    (metric, rate, bound, trials), *_ = figures(opened, "#wins")
    assert [metric, rate] == [last["heldout clap-score:clap"], last["win rate clap-score:clap"]]
    assert bound < rate
    assert trials == 4


@pytest.mark.parametrize("width", [320, 600, 1280])
def test_pairs_fit_every_width(opened: Page, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 800})
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    assert opened.locator(".pairs button").first.is_visible()


def test_pairs_of_a_benchmark_are_its_held_out_clips(page: Page, benchmark: Path, benchmark_page: Path) -> None:
    """The clips that are played have the values that the benchmark recorded for them."""
    page.goto(benchmark_page.as_uri())
    scores = pd.read_parquet(benchmark / "scores.parquet")
    recorded = scores[scores["reward"] == "clap-score:clap"].pivot_table(index="seed", columns="run", values="value")
    seeds = page.locator("#run-1 .pairs tbody th small").all_text_contents()
    assert len(seeds) == 4
    for text, (_, before, after) in zip(seeds, figures(page, "#run-1 .pairs"), strict=True):
        seed = int(text.removeprefix("seed "))
        assert before == pytest.approx(recorded.loc[seed, "baseline"], abs=1e-4)
        assert after == pytest.approx(recorded.loc[seed, "clap-score:clap"], abs=1e-4)
    assert page.locator("#run-2 .pairs").count() == 1


def test_held_out_rewards_of_a_benchmark_are_shown(page: Page, benchmark: Path, benchmark_page: Path) -> None:
    page.goto(benchmark_page.as_uri())
    carried = pd.read_csv(benchmark / "held_out.csv").select_dtypes("number")
    assert figures(page, "#carried") == [row.dropna().tolist() for _, row in carried.iterrows()]
