"""Lanes: how many requests work at once.

One thread at a time runs Python, and gives that up at every row that it reads. Sixteen threads that want it back cost a
short page more than the page itself; so beyond a few, requests wait at the door, where they cost nothing. The lanes
bound no more than that: who waits for something leaves its lane, and who has waited for one goes on without.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import local
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LANES = 4  # PostgreSQL's answers come while others work; on SQLite two were as good
WAIT_SECONDS = 0.02  # what fills all lanes for long, as the drawing of PDFs, must not stop the others


class _Here(local):
    has_lane = False  # this thread


_free: SimpleQueue[None] = SimpleQueue()
for _ in range(LANES):
    _free.put(None)
_here = _Here()


class Lanes:
    """A WSGI application that is called in lanes. What its answers yield is sent outside of them."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        _enter()
        try:
            return self._app(environ, start)
        finally:
            leave()


def leave() -> None:
    """Let the next request work, as before waiting for others; nothing where this thread has no lane."""
    if _here.has_lane:
        _here.has_lane = False
        _free.put(None)


@contextmanager
def outside() -> Iterator[None]:
    """Wait for something without a lane, and then go on in one."""
    had_lane = _here.has_lane
    leave()
    try:
        yield
    finally:
        if had_lane:
            _enter()


def _enter() -> None:
    try:
        _free.get(timeout=WAIT_SECONDS)
    except Empty:
        return
    _here.has_lane = True
