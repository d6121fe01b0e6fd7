"""Acts of simultaneous requests in one transaction: what each costs is its own rows, and a share of the commit."""

from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, TypeVar

from sqlalchemy.exc import OperationalError, TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from app import lanes
from app.db import db, run_in_transaction

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
MOST_AT_ONCE = 64


class GroupCommit(Generic[Item, Outcome]):
    """Who comes first acts for all who wait meanwhile, then the next one does.

    `act` gets a session and items and gives an outcome for each, in their order. It runs in the thread, and so in the
    request, of any of them: what belongs to one request must be in its item.
    """

    def __init__(self, act: Callable[[Session, Sequence[Item]], Sequence[Outcome]]) -> None:
        self._act = act
        self._waiting: deque[_Place[Item, Outcome]] = deque()
        self._is_led = False
        self._lock = Lock()

    def run(self, item: Item) -> Outcome:
        """The outcome of `item`, which is committed by then. Raises what its act or its commit raises."""
        db.session.rollback()  # who waits holds no connection: whose turn it is may need the last one
        place: _Place[Item, Outcome] = _Place(item)
        with self._lock:
            self._waiting.append(place)
            leads, self._is_led = not self._is_led, True
        if not leads:
            with lanes.outside():
                place.wait()
        if not place.is_done:
            self._lead()
        return place.outcome()

    def _lead(self) -> None:
        """Act for all who wait, this thread among them, and then let the first of those who came meanwhile lead."""
        places = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_AT_ONCE))]
        try:
            self._do(places)
        except BaseException as error:  # whoever is woken without an outcome would lead beside the next one
            for place in places:
                if not place.is_done:
                    place.fail(error)
        finally:
            with self._lock:
                self._is_led = bool(self._waiting)
                if self._is_led:
                    self._waiting[0].wake()
            for place in places:
                place.wake()

    def _do(self, places: list["_Place[Item, Outcome]"]) -> None:
        """All in one transaction; when an act fails nothing is kept, and each is done alone."""
        try:
            outcomes = self._in_transaction(places)
        except BaseException as error:
            # Raised again by whom it belongs to: by all when the database is away, or each would wait for it in turn.
            if len(places) == 1 or isinstance(error, OperationalError | PoolTimeout):
                for place in places:
                    place.fail(error)
                return
            for place in places:
                self._do([place])
        else:
            for place, outcome in zip(places, outcomes, strict=True):
                place.succeed(outcome)

    def _in_transaction(self, places: list["_Place[Item, Outcome]"]) -> Sequence[Outcome]:
        items = [place.item for place in places]
        return run_in_transaction(lambda session: self._act(session, items))


class _Place(Generic[Item, Outcome]):
    """An item that waits, and what became of it."""

    __slots__ = ("_asleep", "_error", "_outcome", "is_done", "item")

    def __init__(self, item: Item) -> None:
        self.item, self.is_done = item, False
        self._asleep = Lock()
        self._asleep.acquire()
        self._error: BaseException | None = None
        self._outcome: Outcome | None = None

    def wait(self) -> None:
        """Sleep until it is done, or its turn to lead."""
        self._asleep.acquire()

    def wake(self) -> None:
        """End its sleep, or spare it the next one."""
        self._asleep.release()

    def succeed(self, outcome: Outcome) -> None:
        self._outcome, self.is_done = outcome, True

    def fail(self, error: BaseException) -> None:
        self._error, self.is_done = error, True

    def outcome(self) -> Outcome:
        if self._error is not None:
            raise self._error
        return self._outcome  # type: ignore[return-value]  # done without an error: it is there
