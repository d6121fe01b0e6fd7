"""From where an act comes. The edges say it, so that no service has to pass it on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

# Entries from before kinds were kept have "".
STAFF, USER, KEY, VISITOR, WORKER, COMMAND_LINE = "staff", "user", "key", "visitor", "worker", "command_line"


class Origin(NamedTuple):
    """The kind of actor, and the client's address where there is one."""

    kind: str
    address: str = ""


_outside: ContextVar[Origin] = ContextVar("origin", default=Origin(COMMAND_LINE))  # noqa: B039  a named tuple does not change
_of_request: Callable[[], Origin | None] | None = None


def ask_requests(find: Callable[[], Origin | None]) -> None:
    """Have `find` asked at every entry (None: no request is running). A request that records nothing pays nothing."""
    global _of_request  # noqa: PLW0603  one function for the process, the same for every app
    _of_request = find


def current() -> Origin:
    """Where the act of this moment comes from."""
    return (_of_request() if _of_request else None) or _outside.get()


@contextmanager
def coming_from(kind: str) -> Iterator[None]:
    """Acts outside any request within the context are of this kind."""
    token = _outside.set(Origin(kind))
    try:
        yield
    finally:
        _outside.reset(token)
