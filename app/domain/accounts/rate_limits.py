"""How many requests somebody may send within a window, together over all processes, without a write for each.

A process takes permits from the shared row in blocks and spends them from memory. What it took and did not spend stays
its own, so that far from the limit there is a write in every `block` requests and no more. For the sum never to exceed
the limit, so much less than the limit is given out as all processes together may have left over.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import NamedTuple

from sqlalchemy import delete, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.db import db
from app.domain.accounts.models import RateWindow

WINDOW = 10  # seconds
BLOCKS = 50  # into which a limit is cut at the most
MOST_REMEMBERED = 10_000
KEPT_WINDOWS = 6


_TAKE = text("""
INSERT INTO rate_window (name, number, used) VALUES (:name, :number, :wanted)
ON CONFLICT (name) DO UPDATE SET
    used = CASE WHEN rate_window.number < :number THEN 0 ELSE rate_window.used END + :wanted,
    number = CASE WHEN rate_window.number < :number THEN :number ELSE rate_window.number END
WHERE rate_window.number < :number OR rate_window.used + :wanted <= :most
RETURNING used""")


class Verdict(NamedTuple):
    """Whether the request goes on; how many more do, as far as this process knows, and until when."""

    allowed: bool
    remaining: int
    seconds: int  # to the end of the window


@dataclass(slots=True)
class _Purse:
    """What this process holds for one name."""

    lock: Lock = field(default_factory=Lock)
    left: int = 0
    window: int = -1  # in which it last asked
    shared: int = 0  # what it then left for everybody
    refused: bool = False


class RateLimit:
    """`limit` requests within WINDOW seconds for each name; 0 lets everything pass. One for each process."""

    def __init__(self, limit: int, processes: int) -> None:
        self.limit = limit
        self.block = max(1, limit // (BLOCKS * processes))
        self.most = limit - processes * (self.block - 1)
        self._purses: dict[str, _Purse] = {}

    def take(self, name: str) -> Verdict:
        """Count one request. Takes a transaction of its own in every `block`; a database that is away lets it pass."""
        now = time.time()
        window = int(now // WINDOW)
        seconds = WINDOW - int(now % WINDOW)
        if not self.limit:
            return Verdict(True, 0, seconds)
        purse = self._purses.get(name) or self._new(name)
        with purse.lock:
            if not purse.left and not (purse.refused and purse.window == window):
                self._ask(purse, name, window)
            if not purse.left:
                return Verdict(False, 0, seconds)
            purse.left -= 1
            shared = purse.shared if purse.window == window else self.most
            return Verdict(True, shared + purse.left, seconds)

    def _new(self, name: str) -> _Purse:
        if len(self._purses) >= MOST_REMEMBERED:
            self._purses.clear()  # permits are lost, none are made
        return self._purses.setdefault(name, _Purse())

    def _ask(self, purse: _Purse, name: str, window: int) -> None:
        purse.window, purse.shared = window, 0
        for wanted in sorted({self.block, 1}, reverse=True):  # the last few one by one
            used = self._given(name, window, wanted)
            if used is not None:
                purse.left, purse.shared, purse.refused = wanted, max(0, self.most - used), False
                return
        purse.refused = True

    def _given(self, name: str, window: int, wanted: int) -> int | None:
        values = {"name": name, "number": window, "wanted": wanted, "most": self.most}
        try:
            with db.engine.connect().execution_options(writes=True) as connection, connection.begin():
                used: int | None = connection.execute(_TAKE, values).scalar()
                return used
        except SQLAlchemyError:
            return 0  # what cannot be counted is let through: the request itself tells what is wrong


def forget_old(session: Session, *, now: datetime) -> None:
    """Drop the rows of those who were not seen for a while."""
    session.execute(delete(RateWindow).where(RateWindow.number < int(now.timestamp() // WINDOW) - KEPT_WINDOWS))
