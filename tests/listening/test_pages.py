"""Raters in a real browser, from the first click to the final table."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest
from support.accessibility import nodes, unnamed
from support.browser import watched
from support.listening import PROMPTS, SECONDS, listen, side_of

from dragon_rewards.evaluation.listening.plan import Kind, Side
from dragon_rewards.evaluation.listening.votes import VoteFile

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page
    from support.listening import Server

pytestmark = pytest.mark.slow

TRIALS = 6
PATIENCE = 30_000  # ms at most until a sound was heard, on a busy machine
SWITCH = """new Promise((end) => {
    player.play();
    const poll = setInterval(() => {
        if (player.position < 0.1) return;
        clearInterval(poll);
        player.choose(1).then(end);
    }, 5);
})"""  # B from 0.1 s on, by the clock of the page
KEYS = {"left": ("1", "ArrowLeft"), "right": ("2", "ArrowRight"), "tie": ("=", "=")}


def choice(trial: int) -> str:
    """What raters of these tests vote."""
    return ("left", "right", "tie")[trial % 3]


def enter(page: Page, name: str) -> None:
    page.fill("#name", name)
    page.press("#name", "Enter")
    page.wait_for_selector("#play:enabled")


def heard(page: Page, side: int) -> None:
    """Wait for the end of a sound, of which all was heard."""
    page.wait_for_selector(f'#heard-{side}[value="1"]', timeout=PATIENCE)
    page.wait_for_selector("#play >> text=Play", timeout=PATIENCE)


def vote_by_mouse(page: Page, trial: int) -> None:
    for side in (0, 1):
        page.click(f"#sound-{side}")
        heard(page, side)
    page.click(f"#{choice(trial)}")
    moved_on(page, trial)


def vote_by_keys(page: Page, trial: int) -> None:
    page.keyboard.press("Space")
    heard(page, 0)
    page.keyboard.press("b")
    heard(page, 1)
    page.keyboard.press(KEYS[choice(trial)][trial // 3 % 2])
    moved_on(page, trial)


def moved_on(page: Page, trial: int) -> None:
    if trial + 1 < TRIALS:
        page.wait_for_selector(f"#progress >> text={trial + 2} of {TRIALS}")
        page.wait_for_selector("#play:enabled")
    else:
        page.wait_for_selector("#thanks:visible")


def report(*files: Path) -> Any:
    return json.loads(listen("report", *files, "--json"))


def test_two_raters_at_once_from_first_click_to_final_table(browser: Browser, server: Server) -> None:
    with watched(browser) as mouse, watched(browser) as keys:
        for page, name in ((mouse, "Mia"), (keys, "Kim")):
            page.goto(server.url)
            enter(page, name)
        for trial in range(TRIALS):
            vote_by_mouse(mouse, trial)
            vote_by_keys(keys, trial)
    file, rows = VoteFile(server.db), report(server.db)["raters"]
    for name in ("Mia", "Kim"):
        votes = [vote for vote in file.votes() if vote.rater == name]
        assert [vote.choice for vote in votes] == [choice(trial) for trial in range(TRIALS)]
        assert all(vote.seconds > 2 * SECONDS - 0.1 for vote in votes)  # the page lets 0.05 s of each go unheard
        (row,) = (row for row in rows if row["rater"] == name)
        pairs = [vote for vote in votes if vote.heard.kind is Kind.PAIR]
        wins = [1 if vote.preferred == "b" else 0.5 if vote.preferred is None else 0 for vote in pairs]
        assert (row["votes"], row["b"], row["ties"]) == (4, wins.count(1), wins.count(0.5))
        assert row["win_rate"] == sum(wins) / 4


def test_nobody_votes_before_both_were_heard_to_the_end(page: Page, server: Server) -> None:
    page.goto(server.url)
    enter(page, "Noa")

    def refuses() -> None:
        assert page.locator("#left:disabled, #tie:disabled, #right:disabled").count() == 3
        page.keyboard.press("1")
        assert "Listen to both to the end before you vote." in page.inner_text("#status")
        assert page.inner_text("#progress") == f"1 of {TRIALS}"

    refuses()
    page.keyboard.press("a")
    refuses()
    heard(page, 0)
    refuses()  # one of two
    page.evaluate("player.choose(1).then(() => player.pause())")  # a pause on the way is no end
    assert page.inner_text("#play") == "Play"
    page.wait_for_timeout(800)
    refuses()
    page.keyboard.press("Space")
    heard(page, 1)
    assert page.inner_text("#status") == "You heard both. Which do you prefer?"
    assert page.locator("#left:enabled, #tie:enabled, #right:enabled").count() == 3


def test_switching_is_instant_and_counts_for_what_is_audible(page: Page, server: Server) -> None:
    page.goto(server.url)
    enter(page, "Swi")
    page.evaluate(SWITCH)
    assert page.get_attribute("#sound-1", "aria-pressed") == "true"
    page.wait_for_selector("#play >> text=Play", timeout=PATIENCE)  # it ended
    first, second = (page.evaluate(f"player.share({side})") for side in (0, 1))
    assert 0 < first < 1
    assert 0 < second < 1
    assert page.evaluate("player.position") == 0
    assert page.evaluate("union(union([], [0, 1]), [2, 3])") == [[0, 1], [2, 3]]
    assert page.evaluate("union([[0, 1], [2, 3]], [1, 2])") == [[0, 3]]


def test_a_reload_and_another_device_go_on(browser: Browser, server: Server) -> None:
    with watched(browser) as page:
        page.goto(server.url)
        enter(page, "Rae")
        vote_by_keys(page, 0)
        page.reload()
        assert page.input_value("#name") == "Rae"
        assert page.inner_text("#enter") == "Continue"
        page.click("#enter")
        page.wait_for_selector(f"#progress >> text=2 of {TRIALS}")
        page.wait_for_selector("#play:enabled")
        vote_by_keys(page, 1)
    with watched(browser) as page:
        page.goto(server.url)
        enter(page, "Rae")
        assert page.inner_text("#progress") == f"3 of {TRIALS}"


def test_a_vote_that_did_not_arrive_is_cast_again(browser: Browser, server: Server) -> None:
    def interrupted() -> None:
        with watched(browser) as page:
            page.goto(server.url)
            enter(page, "Off")
            page.keyboard.press("Space")
            heard(page, 0)
            page.keyboard.press("b")
            heard(page, 1)
            page.context.set_offline(True)
            page.keyboard.press("1")
            page.wait_for_selector("#status >> text=Not saved")
            page.context.set_offline(False)
            page.keyboard.press("1")
            moved_on(page, 0)

    with pytest.raises(AssertionError, match="ERR_INTERNET_DISCONNECTED"):  # the browser logs it
        interrupted()
    assert [vote.choice for vote in VoteFile(server.db).votes() if vote.rater == "Off"] == ["left"]


def test_a_page_that_was_tampered_with_is_refused_and_goes_on(browser: Browser, server: Server) -> None:
    def tampered() -> None:
        with watched(browser) as page:
            page.goto(server.url)
            enter(page, "Tam")
            page.evaluate("player.heard = [[[0, 9]], [[0, 9]]]; draw()")
            page.keyboard.press("1")
            page.wait_for_selector("#status >> text=Not saved: both sounds take 0.7 s to hear; listen to both")
            vote_by_keys(page, 0)

    with pytest.raises(AssertionError, match="422"):  # the browser logs it
        tampered()
    assert [vote.trial for vote in VoteFile(server.db).votes() if vote.rater == "Tam"] == [0]


def test_prompts_and_titles_are_text(page: Page, server: Server) -> None:
    page.goto(server.url)
    assert page.inner_text("h1") == "Which <i>sounds</i> better?"
    enter(page, "Tex")
    assert page.inner_text("#prompt") in PROMPTS
    page.evaluate("show({ done: 0, total: 1, prompt: '<img src=x onerror=alert(1)>' })")
    assert page.inner_text("#prompt") == "<img src=x onerror=alert(1)>"
    assert page.locator("#prompt *").count() == 0


def test_it_can_be_used_by_everyone(page: Page, server: Server) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(server.url)
    assert page.evaluate("document.activeElement.id") == "name"
    enter(page, "Acc")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.get_attribute("#status", "aria-live") == "polite"
    assert page.locator("button:not([aria-hidden])").all_inner_texts()
    assert unnamed(page) == []
    names = {"Play", "A", "B", "A is better", "Equal", "B is better"}
    assert names == {name for role, name in nodes(page, {"button"})}
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "play"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Space")  # on the button: once, not twice
    assert page.inner_text("#play") == "Pause"
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


@pytest.fixture(scope="module")
def static(a: Path, b: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page as a file, and its file of votes beside it."""
    out = tmp_path_factory.mktemp("static") / "test.html"
    options = ["--db", str(out.with_suffix(".sqlite")), "--repeats", "1", "--identical", "1"]
    listen("page", a, b, "--out", out, *options)
    return out


def test_the_votes_of_a_page_are_downloaded_and_reported(page: Page, static: Path, tmp_path: Path) -> None:
    page.goto(static.as_uri())
    enter(page, "Sam & Co.")
    for trial in range(3):
        vote_by_keys(page, trial)
    page.reload()
    enter(page, "Sam & Co.")
    assert page.inner_text("#progress") == f"4 of {TRIALS}"
    for trial in range(3, TRIALS):
        vote_by_mouse(page, trial)
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "votes-Sam-Co-.json"
    votes = tmp_path / "votes.json"
    download.value.save_as(votes)
    held = json.loads(votes.read_text(encoding="utf-8"))
    assert [vote["choice"] for vote in held["votes"]] == [choice(trial) for trial in range(TRIALS)]
    found = report(static.with_suffix(".sqlite"), votes)
    plan = VoteFile(static.with_suffix(".sqlite")).plan()
    assert plan is not None
    lefts = {"left": 0, "right": 1}
    sides = [
        None if choice(place) == "tie" else (trial.left, trial.right)[lefts[choice(place)]]
        for place, trial in enumerate(plan.trials(held["seat"]))
        if trial.kind is Kind.PAIR
    ]
    (row,) = found["raters"]
    assert (row["rater"], row["a"], row["b"], row["ties"]) == (
        "Sam & Co.",
        sides.count(Side.A),
        sides.count(Side.B),
        sides.count(None),
    )
    assert found["overall"][0]["votes"] == 4


def test_two_windows_of_a_page_do_not_overwrite_each_other(page: Page, static: Path) -> None:
    page.goto(static.as_uri())
    enter(page, "Two")
    other = page.context.new_page()
    other.goto(static.as_uri())
    enter(other, "Two")
    vote_by_keys(page, 0)
    other.keyboard.press("a")
    heard(other, 0)
    other.keyboard.press("b")
    heard(other, 1)
    other.keyboard.press("2")
    other.wait_for_selector("#status >> text=another window went on")
    assert page.evaluate("test.kept.votes.map((vote) => vote.choice)") == ["left"]


def test_a_page_plays_the_sides_of_the_plan(static: Path) -> None:
    script = '<script type="application/json" id="content">'
    content = json.loads(static.read_text(encoding="utf-8").split(script)[1].split("</script>")[0])
    sides = [side_of(b64decode(sound)) for sound in content["sounds"]]
    plan = VoteFile(static.with_suffix(".sqlite")).plan()
    assert plan is not None
    assert sides not in (sorted(sides), ["a", "b"] * 4)  # the places tell nothing
    for seat, trials in enumerate(content["seats"]):
        heard = [tuple(sides[place] for place in trial["sounds"]) for trial in trials]
        assert heard == [(trial.left, trial.right) for trial in plan.trials(seat)]
        assert [trial["prompt"] for trial in trials] == [plan.pairs[trial.pair].prompt for trial in plan.trials(seat)]


def test_a_page_tells_no_names_and_reaches_nothing(static: Path) -> None:
    text = static.read_text(encoding="utf-8")
    assert "clip-" not in text
    assert "connect-src 'none'" in text
    assert not any(word in text for word in ("http:", "https:", "repeat", "identical"))
