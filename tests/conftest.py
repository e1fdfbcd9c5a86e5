"""What must be set before any test imports torch, and a real browser for tests of pages."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture.providers import HypothesisProvider
from support.browser import launched, watched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

pytest_plugins = ["support.devices.fixtures", "support.faults.plugin", "support.pairwise"]

# Several test workers share the cores: one thread each, that sleeps while it waits. Commands that tests start inherit
# it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# What starts tests in the background may have told them to ignore Ctrl-C, and commands that they start would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests neither read nor fill the user's cache of embeddings; those of the cache name a folder of their own.
os.environ["DRAGON_CACHE"] = "off"

# Nor do they see the user's exemplar sets and heads.
os.environ["DRAGON_EXEMPLARS"] = os.environ["DRAGON_HEADS"] = "no such folder"

# Hypothesis draws the constants of whatever modules a worker has loaded by then, even where it is derandomized, so that
# what it tries would change with the order of tests. There is no setting for it.
HypothesisProvider._maybe_draw_constant = lambda *_, **__: None  # type: ignore[method-assign]

# How long an example takes says how busy the machine is; on CI, Hypothesis has no deadline either.
settings.register_profile("patient", settings(), deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session", name="browser")
def shared_browser() -> Iterator[Browser]:
    """Headless Chromium, started once."""
    with launched() as started:
        yield started


@pytest.fixture(name="page")
def fresh_page(browser: Browser) -> Iterator[Page]:
    """A page of a fresh profile, whose errors fail the test."""
    with watched(browser) as opened:
        yield opened
