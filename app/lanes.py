"""Lanes: how many requests work at once.

One thread at a time runs Python, and gives that up at every row that it reads. Sixteen threads that want it back cost a
short page more than the page itself; so beyond a few, requests wait at the door, where they cost nothing. The lanes
bound no more than that: who waits for something leaves its lane, and nobody waits for a request that takes long.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import cycle
from threading import Lock, local
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# By database: SQLite works in the request's own thread, PostgreSQL's answers come while others work.
LANES = {"sqlite": 1, "postgresql": 2}
LONG_SECONDS = 0.02  # a request that is in its lane for longer, as one that draws a PDF, must not stop the others


class _Here(local):
    lane: "_Lane | None" = None  # that this thread is in


_here = _Here()


class Lanes:
    """A WSGI application that is called in lanes. What its answers yield is sent outside of them."""

    def __init__(self, app: "WSGIApplication", count: int) -> None:
        self._app = app
        self._lanes = [_Lane(self) for _ in range(count)]
        self._turns = cycle(self._lanes)

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        self.enter()
        try:
            return self._app(environ, start)
        finally:
            leave()

    def enter(self) -> None:
        """Take a free lane, or wait for one as long as it moves."""
        if any(lane.is_taken(blocking=False) for lane in self._lanes):
            return
        lane = next(self._turns)
        while monotonic() - lane.taken_at < LONG_SECONDS:
            if lane.is_taken(timeout=LONG_SECONDS):
                return


class _Lane:
    """A lane of an application, and since when a request is in it."""

    def __init__(self, of: Lanes) -> None:
        # A plain lock: it wakes one thread each time that it is left. A queue woke a second one, which found nothing.
        self.of, self._lock, self.taken_at = of, Lock(), 0.0

    def is_taken(self, **wait: Any) -> bool:
        """Whether this thread could take it."""
        if not self._lock.acquire(**wait):
            return False
        _here.lane, self.taken_at = self, monotonic()
        return True

    def leave(self) -> None:
        """Let the next one in."""
        _here.lane = None
        self._lock.release()


def leave() -> None:
    """Let the next request work, as before waiting for others; nothing where this thread has no lane."""
    if _here.lane is not None:
        _here.lane.leave()


@contextmanager
def outside() -> Iterator[None]:
    """Wait for something without a lane, and then go on in one."""
    lane = _here.lane
    leave()
    try:
        yield
    finally:
        if lane is not None:
            lane.of.enter()
