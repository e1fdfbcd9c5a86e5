"""Serves a listening test over HTTP. Raters learn neither names nor sides: a page asks for the left or right sound.

    GET  /                              the page
    POST /raters                        {"name"} -> {"token"}: the rater's, the same for the same name
    GET  /raters/TOKEN                  {"done", "total", "prompt"}: of the next trial
    GET  /raters/TOKEN/TRIAL/SIDE       its left or right sound, FLAC
    POST /raters/TOKEN/TRIAL            {"choice", "seconds"} -> as GET /raters/TOKEN, once the vote is on the disk

Statuses: 404 nobody's token, 408 half-sent, 409 not the rater's next trial, 413 too large, 422 malformed, or a vote
before both sounds can have been heard to the end: by the page's `seconds`, and by the time since this server first sent
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from dragon_rewards.evaluation.listening.page import render_served
from dragon_rewards.evaluation.listening.plan import Trial  # noqa: TC001  FastAPI evaluates the annotations
from dragon_rewards.evaluation.listening.sound import MEDIA_TYPE
from dragon_rewards.evaluation.listening.votes import Choice, OutOfTurnError, Rater, Vote
from dragon_rewards.remote.http import bound
from dragon_rewards.terminal.printable import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dragon_rewards.evaluation.listening.setup import ListeningTest

HEADERS = {
    "Cache-Control": "no-store",  # a sound that came from the cache would tell that it is a repeat
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


LIMIT = 2**14  # bytes of a body: a name of 80 characters takes less than 1,000, however it is escaped


def _plain(name: str) -> str:
    if printable(name) != name or not name.splitlines() == [name]:
        raise ValueError("control characters and lone surrogates are no part of a name")
    return name


class Entry(BaseModel):
    """The body of a request by which somebody takes part.

    Attributes:
        name: what the rater wants to be called, 1 to 80 characters.
    """

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80), AfterValidator(_plain)]


class Ballot(BaseModel):
    """The body of a request by which a page casts a vote.

    Attributes:
        choice: what the rater chose.
        seconds: how long after the trial's sounds were there.
    """

    choice: Choice
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class State(BaseModel):
    """How far a rater is.

    Attributes:
        done: the number of votes cast.
        total: the number of trials.
        prompt: the prompt of the next trial; None if it has none, or there is no next trial.
    """

    done: int
    total: int
    prompt: str | None


@dataclass(frozen=True)
class Service:
    """The requests that the server answers.

    Attributes:
        test: the listening test that raters take.
        page: the page of all raters, as HTML.
    """

    test: ListeningTest
    page: str

    def index(self) -> HTMLResponse:
        """Answer with the page that all raters use, as HTML."""
        return HTMLResponse(self.page)

    def enter(self, entry: Entry) -> dict[str, str]:
        """Give the rater of a name a seat, or the one that the rater had before, and answer with its token."""
        return {"token": self.test.votes.enter(entry.name).token}

    def state(self, token: str) -> State:
        """Answer how far the rater of this token is, and with the prompt of the next trial."""
        return self._state(self._rater(token))

    def sound(self, token: str, trial: int, side: Literal["left", "right"]) -> Response:
        """Answer with the left or right sound of the rater's next trial, and note that it was sent."""
        rater = self._rater(token)
        heard = self._next(rater, trial)
        content = self.test.sound(heard.pair, heard.left if side == "left" else heard.right)
        self.test.votes.send(rater, trial, side)
        return Response(content, media_type=MEDIA_TYPE)

    def vote(self, token: str, trial: int, ballot: Ballot) -> State:
        """Keep a vote on the rater's next trial, and answer how far the rater is."""
        rater = self._rater(token)
        trials = self.test.plan.trials(rater.seat)
        if not 0 <= trial < len(trials):
            raise HTTPException(409, f"there are {len(trials)} trials")
        if trial == self.test.votes.done(rater):
            self._check_heard(rater, trial, ballot.seconds)
        try:
            self.test.votes.add(Vote(rater.name, trial, trials[trial], ballot.choice, ballot.seconds))
        except OutOfTurnError as error:
            raise HTTPException(409, str(error)) from error
        return self._state(rater)

    def _check_heard(self, rater: Rater, trial: int, seconds: float) -> None:
        """Refuse a vote that comes sooner than both sounds can be heard, whatever the page lets through."""
        needed = self.test.plan.shortest(self.test.plan.trials(rater.seat)[trial])
        since = self.test.votes.since_sent(rater, trial)
        if since is None:
            raise HTTPException(422, "the sounds of this pair were not asked for; load the page again")
        # Where the server's clock was put back, there is no telling: a rater is not kept waiting for it.
        if seconds < needed or 0 <= since < needed:
            raise HTTPException(422, f"both sounds take {needed:.1f} s to hear; listen to both to the end, then vote")

    def _rater(self, token: str) -> Rater:
        rater = self.test.votes.rater(token)
        if rater is None:
            raise HTTPException(404, "nobody has this token; load the page again")
        return rater

    def _state(self, rater: Rater) -> State:
        plan, done = self.test.plan, self.test.votes.done(rater)
        prompt = plan.pairs[plan.trials(rater.seat)[done].pair].prompt if done < plan.length else None
        return State(done=done, total=plan.length, prompt=prompt)

    def _next(self, rater: Rater, trial: int) -> Trial:
        if trial != self.test.votes.done(rater) or trial == self.test.plan.length:
            raise HTTPException(409, f"trial {trial} is not the next; load the page again")
        return self.test.plan.trials(rater.seat)[trial]


def build_app(test: ListeningTest, title: str) -> FastAPI:
    """Build the web application in which raters take a test; `title` heads its page."""
    service = Service(test, render_served(title))
    app = FastAPI(openapi_url=None)
    app.middleware("http")(_with_headers)
    app.add_api_route("/", service.index, methods=["GET"], response_model=None)
    app.add_api_route("/raters", service.enter, methods=["POST"])
    app.add_api_route("/raters/{token}", service.state, methods=["GET"])
    app.add_api_route("/raters/{token}/{trial}/{side}", service.sound, methods=["GET"], response_model=None)
    app.add_api_route("/raters/{token}/{trial}", service.vote, methods=["POST"])
    bound(app, LIMIT, "")
    return app


async def _with_headers(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await answer(request)
    response.headers.update(HEADERS)
    return response
