"""A real headless browser for tests of pages, which reaches this machine only."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Page, Route

LOCAL = {"127.0.0.1", "localhost", None}  # None: the host of file:, data:, blob: and about:
FLAGS = [
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",  # no networking of its own either
]


@contextmanager
def launched() -> Iterator[Browser]:
    """Chromium of this machine; where there is none, CI fails and others skip."""
    path = shutil.which("chromium")
    if path is None:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("this needs chromium on the path: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def watched(browser: Browser) -> Iterator[Page]:
    """A page of a fresh profile; errors that it throws or logs, and files that did not load, fail the test."""
    context = browser.new_context()
    context.route("**/*", _local_only)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.extend(_errors(message)))
    yield page
    context.close()
    assert not complaints, "\n".join(complaints)


def _local_only(route: Route) -> None:
    if urlsplit(route.request.url).hostname in LOCAL:
        route.continue_()
    else:
        route.abort()


def _errors(message: ConsoleMessage) -> list[str]:
    return [message.text] if message.type == "error" else []
