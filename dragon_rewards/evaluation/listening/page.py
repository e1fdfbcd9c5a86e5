"""The page that raters use: one template, for the server and for a file that holds the whole test."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib.resources import files
from random import Random
from typing import TYPE_CHECKING, Any

from dragon_rewards.evaluation.listening.plan import Side

if TYPE_CHECKING:
    from dragon_rewards.evaluation.listening.plan import Plan, Trial
    from dragon_rewards.evaluation.listening.setup import ListeningTest

SEATS = 64  # orders that a page holds, one of which each rater draws


def render_served(title: str) -> str:
    """Return the page of `dragon listen serve` as HTML; it asks the server for everything."""
    return _render(title, None, "connect-src 'self'")


def render_page(test: ListeningTest, title: str) -> str:
    """Return a page, as HTML, that holds all sounds, and keeps votes in the browser until they are downloaded.

    Its sounds are in random order, so that their places tell no side. Whoever reads its source can tell which trials
    repeat, as whoever compares the sounds could.
    """
    places = _places(test.plan)
    sounds = sorted(places, key=places.__getitem__)
    content = {
        "plan": test.plan.digest,
        "sounds": [b64encode(test.sound(*sound)).decode() for sound in sounds],
        "seats": [[_shown(trial, test.plan, places) for trial in test.plan.trials(seat)] for seat in range(SEATS)],
    }
    return _render(title, content, "connect-src 'none'")


def _places(plan: Plan) -> dict[tuple[int, Side], int]:
    """Return where in the page the sound of each pair and side is."""
    draw = Random(f"{plan.seed} places")
    sounds = [(pair, side) for pair in range(len(plan.pairs)) for side in Side]
    return {sound: place for place, sound in enumerate(sorted(sounds, key=lambda _: draw.random()))}


def _shown(trial: Trial, plan: Plan, places: dict[tuple[int, Side], int]) -> dict[str, Any]:
    sounds = [places[trial.pair, trial.left], places[trial.pair, trial.right]]
    return {"prompt": plan.pairs[trial.pair].prompt, "sounds": sounds}


def _render(title: str, content: Any, connect: str) -> str:
    """Fill the template; its policy lets only the script and the style that it holds run or style it."""
    folder = files("dragon_rewards.evaluation.listening")
    style, script = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; {connect}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    parts = {"title": escape(title), "policy": policy, "style": style, "script": script, "content": _embedded(content)}
    page = folder.joinpath("page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], page)


def _digest(source: str) -> str:
    return f"sha256-{b64encode(sha256(source.encode()).digest()).decode()}"


def _embedded(content: Any) -> str:
    """Return JSON that cannot end the element that holds it."""
    return json.dumps(content).replace("<", "\\u003c")
