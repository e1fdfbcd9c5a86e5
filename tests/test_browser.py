"""The browser that tests of pages share: it runs scripts, its errors fail tests, and it reaches this machine only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.browser import watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def test_it_opens_a_page(page: Page) -> None:
    page.goto("about:blank")
    assert page.evaluate("1 + 1") == 2


def test_errors_of_a_page_fail_the_test(browser: Browser) -> None:
    with pytest.raises(AssertionError, match="went wrong"), watched(browser) as page:
        page.evaluate("console.error('went wrong')")
    with pytest.raises(AssertionError, match="thrown"), watched(browser) as page:
        page.evaluate("setTimeout(() => { throw new Error('thrown') }); new Promise((end) => setTimeout(end, 100))")


def test_other_machines_are_out_of_reach(browser: Browser) -> None:
    with pytest.raises(AssertionError, match="ERR_FAILED"), watched(browser) as page:
        assert page.evaluate("fetch('http://dragon.example/').then(() => 'reached', () => 'blocked')") == "blocked"
