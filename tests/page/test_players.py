"""The page of a run in a real browser: pairs of clips that play and sort, and prompts that stay text."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page
from support.accessibility import nodes, unnamed
from support.report_pages import HOSTILE, figures

pytestmark = pytest.mark.slow

FOCUSABLE = ", ".join(
    f"{each}:not([hidden])" for each in ("a", "button", "select", "summary", "audio", "[type=range]", "[tabindex]")
)
LISTEN = """
    window.gains = [], window.starts = [];
    window.GainNode = class extends GainNode {
        constructor(...given) { super(...given); gains.push(this); }
    };
    const start = AudioBufferSourceNode.prototype.start;
    AudioBufferSourceNode.prototype.start = function (...given) {
        starts.push(given);
        return start.apply(this, given);
    };
"""  # what is loud, and where sounds were begun


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


@pytest.fixture
def heard(page: Page, run_page: Path) -> Page:
    """The page, which records what is loud."""
    page.add_init_script(LISTEN)
    page.goto(run_page.as_uri())
    return page


def place(page: Page, player: int = 0) -> float:
    """Where a player is, in seconds."""
    return float(page.locator(".player [type=range]").nth(player).input_value())


def playing(page: Page, player: int = 0) -> None:
    """Wait until a player has advanced."""
    until(page, f"document.querySelectorAll('.player [type=range]')[{player}].valueAsNumber > 0.2")


def until(page: Page, expression: str) -> None:
    """Wait until an expression is true; the page's policy forbids Playwright's own waiting."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"never true: {expression}")


def values(note: str) -> tuple[float, float]:
    """The values before and after, from a note such as `0.25 → −0.5`."""
    before, after = note.replace("\N{MINUS SIGN}", "-").split(" → ")
    return float(before), float(after)


def loud(page: Page) -> list[float]:
    """The gains of the latest two sounds, untuned and tuned, once they have settled."""
    page.wait_for_timeout(100)
    gains: list[float] = page.evaluate("gains.slice(-2).map(each => Math.round(each.gain.value * 1000) / 1000)")
    return gains


def test_one_player_switches_between_both_sounds_at_the_same_place(heard: Page) -> None:
    heard.locator(".play").first.click()
    playing(heard)
    assert loud(heard) == [1, 0]
    before = place(heard)
    heard.locator(".player").first.get_by_label("tuned", exact=True).check()
    assert loud(heard) == [0, 1]
    assert before < place(heard) < before + 3
    assert heard.evaluate("starts.length") == 2  # both began together, and neither began again
    first, second = heard.evaluate("starts")
    assert first == second
    assert float(heard.locator(".player [type=range]").first.get_attribute("max") or 0) == pytest.approx(5.1, abs=0.1)


def test_a_player_plays_alone(heard: Page) -> None:
    """Playing the second stops the first, where it was."""
    heard.locator(".play").nth(0).click()
    playing(heard, 0)
    heard.locator(".play").nth(1).click()
    playing(heard, 1)
    stopped = place(heard, 0)
    assert stopped > 0
    heard.wait_for_timeout(200)
    assert place(heard, 0) == stopped
    assert heard.locator(".player.playing").count() == 1


def test_a_player_is_worked_from_the_keyboard(heard: Page) -> None:
    heard.locator(".play").first.focus()
    heard.keyboard.press("Space")
    playing(heard)
    heard.keyboard.press("Tab")
    heard.keyboard.press("ArrowRight")
    assert loud(heard) == [0, 1]
    heard.keyboard.press("Tab")
    heard.keyboard.press("End")
    until(heard, "!document.querySelector('.player.playing')")
    heard.keyboard.press("Home")
    heard.keyboard.press("PageUp")
    sought = place(heard)
    assert sought > 0
    heard.locator(".play").first.press("Enter")
    until(heard, "starts.length > 3")
    assert heard.evaluate("starts.at(-1)[1]") == pytest.approx(sought, abs=0.02)


def test_a_click_into_a_picture_plays_that_side_from_there(heard: Page) -> None:
    picture = heard.locator(".player .picture").nth(1)
    size = picture.bounding_box()
    assert size is not None
    picture.click(position={"x": size["width"] / 2, "y": 10})
    assert place(heard) == pytest.approx(2.56, abs=0.1)
    assert heard.locator(".lane.heard .side").first.text_content() == "tuned"
    heard.locator(".play").first.click()
    until(heard, "gains.length === 2")
    assert loud(heard) == [0, 1]


def test_without_scripts_both_sounds_have_players_of_their_own(browser: Browser, run_page: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(run_page.as_uri())
    assert page.locator("audio[controls]:visible").count() == 2 * len(HOSTILE)
    assert page.locator(".controls:visible, [type=range]:visible").count() == 0
    context.close()


def test_the_sounds_without_scripts_are_whole(opened: Page) -> None:
    seconds = opened.locator("audio").evaluate_all(
        "all => Promise.all(all.map(each => new Promise(done => {"
        " each.onloadedmetadata = () => done(each.duration); each.preload = 'metadata'; each.load(); })))"
    )
    assert seconds == [pytest.approx(5.1, abs=0.2)] * 2 * len(HOSTILE)


def test_spectrograms_have_axes_of_seconds_and_hertz(opened: Page) -> None:
    first = opened.locator(".player").first
    assert first.locator(".seconds text").all_text_contents() == ["0", "1", "2", "3", "4", "5 s"]
    assert first.locator(".lane").first.locator(".pitches text").all_text_contents() == ["Hz", "500", "1k", "2k", "4k"]
    picture, axis = (first.locator(each).first.bounding_box() for each in (".picture", ".seconds"))
    assert picture is not None
    assert axis is not None
    assert (picture["x"], picture["width"]) == (axis["x"], axis["width"])


def test_every_pair_has_two_sounds_two_pictures_and_its_figures(opened: Page) -> None:
    rows = opened.locator(".pairs tbody tr").all()
    assert len(rows) == len(HOSTILE)
    for row, gains in zip(rows, figures(opened, ".pairs"), strict=True):
        assert row.locator("audio[aria-label]").count() == 2
        pictures = row.locator("img")
        assert pictures.evaluate_all("all => all.every(each => each.complete && each.naturalWidth > 200 && each.alt)")
        notes = row.locator("td.gained small:not(.by)").all_text_contents()
        changes = [after - before for before, after in map(values, notes)]
        assert gains == pytest.approx([-changes[0], *changes[1:2], *(-each for each in changes[2:])], abs=0.1)


def test_the_runs_own_rewards_come_first_with_their_change_and_interval(opened: Page) -> None:
    """Of the pairs that are played: a mean of clips, and a value of a set."""
    terms = opened.locator("header .facts dt").all_text_contents()
    assert terms[0] == "per-song-fad:clap@airs over 3 pairs, untuned → tuned (lower is better)"
    assert terms[1] == "vendi:logmel over 3 pairs, untuned → tuned (higher is better)"
    gains = [row[0] for row in figures(opened, ".pairs")]
    change = float(opened.locator("header .facts data").first.get_attribute("value") or "nan")
    assert change == pytest.approx(-sum(gains) / 3)
    said = opened.locator("header .facts dd small").first.text_content() or ""
    assert said.startswith("change ")
    assert said.endswith(("within noise", "better", "worse"))
    assert not any("first step" in term for term in terms)
    assert opened.locator(".changes .chart svg").count() == len(opened.locator(".pairs th button").all()) - 1


def test_everything_has_a_name_for_screen_readers(opened: Page) -> None:
    opened.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert unnamed(opened) == []
    told = nodes(opened, {"Audio", "slider", "radio", "button", "table", "columnheader"})
    assert [name for role, name in told if role == "Audio"] == []
    assert sorted(name for role, name in told if role == "radio") == ["tuned"] * 3 + ["untuned"] * 3
    for role, name in (("slider", "Place in seconds"), ("button", "Play")):
        assert sorted(each for of, each in told if of == role and each.startswith(name)) == sorted(
            f"{name}: {' '.join(prompt.split())}" for prompt in HOSTILE
        )
    assert ("columnheader", "Prompt") in told
    assert any(role == "table" and name.startswith("Pairs of clips of") for role, name in told)


def test_the_keyboard_reaches_everything(opened: Page) -> None:
    opened.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    wanted = opened.locator(FOCUSABLE).count()
    opened.evaluate(
        "window.reached = new Set(); document.addEventListener('focusin', event => reached.add(event.target))"
    )
    missed = f"[...document.querySelectorAll('{FOCUSABLE}')].filter(each => !reached.has(each)).length"
    for _ in range(2 * wanted):
        opened.keyboard.press("Tab")
        if opened.evaluate(missed) == 0:
            break
    assert opened.evaluate(missed) == 0


def test_curves_are_those_of_the_metrics(opened: Page, run: Path) -> None:
    metrics = pd.read_csv(run / "metrics.csv")
    assert figures(opened, "#run-1 > details") == metrics.to_numpy().tolist()
    assert opened.locator("#run-1 .curves .chart svg").count() == opened.locator("#run-1 .curves .chart").count() > 5


def test_heldout_win_rates_have_both_values_and_bounds_and_the_target_is_marked(opened: Page, run: Path) -> None:
    last = pd.read_csv(run / "metrics.csv").iloc[-1]
    rewards = ("per-song-fad:clap@airs", "vendi:logmel", "clap-score:clap")
    for reward, (before, after, rate, bound, trials) in zip(rewards, figures(opened, "#wins"), strict=True):
        assert [before, after, rate] == [last[f"{of} {reward}"] for of in ("untuned", "heldout", "win rate")]
        assert bound < rate or rate == 0
        assert trials == (2 if reward == "vendi:logmel" else 4)  # it judges pairs at least
    assert opened.locator("#wins tr.target th").all_text_contents() == [f"{reward}target" for reward in rewards[:2]]


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
    notes = page.locator("#run-1 .pairs tbody tr td:nth-of-type(1) small:first-of-type").all_text_contents()
    for text, note, (gain, *_) in zip(seeds, notes, figures(page, "#run-1 .pairs"), strict=True):
        seed = int(text.removeprefix("seed "))
        before, after = values(note)
        assert before == pytest.approx(recorded.loc[seed, "baseline"], abs=1e-4)
        assert after == pytest.approx(recorded.loc[seed, "clap-score:clap"], abs=1e-4)
        assert gain == pytest.approx(after - before, abs=1e-4)
    assert page.locator("#run-2 .pairs").count() == 1


def test_held_out_rewards_of_a_benchmark_are_shown(page: Page, benchmark: Path, benchmark_page: Path) -> None:
    page.goto(benchmark_page.as_uri())
    carried = pd.read_csv(benchmark / "held_out.csv").select_dtypes("number")
    assert figures(page, "#carried") == [row.dropna().tolist() for _, row in carried.iterrows()]
