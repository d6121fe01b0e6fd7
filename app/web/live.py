"""Live meters: one poller a worker looks for changes and wakes the streams that wait for them.

A stream holds a thread and nothing else: no database session while it waits. Streams are capped below the
worker's threads, so that pages are always answered; a page that gets no stream polls the same fragment.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, Response, current_app, render_template, stream_with_context
from sqlalchemy.exc import SQLAlchemyError

from app.config import Settings
from app.core.clock import utc_now
from app.db import db
from app.domain.accounts import service as accounts
from app.domain.metering import meters
from app.domain.tenants.models import Tenant
from app.metrics import Metrics
from app.web import drawn
from app.web.guards import current_user, still_signed_in

ENDED_WITHIN = timedelta(minutes=1)  # a sign-in that ended so lately closes its streams; of others the next draw tells
BEAT_SECONDS = 5.0  # tells the page that the stream lives; the page polls when it hears nothing
REDRAW_SECONDS = 60.0  # "in 9 days" and the reset itself come with time, not with a record


class MeterWatch:
    """Who watches which tenant in this worker, and what was last seen of each."""

    def __init__(self, app: Flask) -> None:
        settings: Settings = app.config["RINGPLAN"]
        self.metrics: Metrics = app.extensions["metrics"]
        self.app, self.most, self.pause = app, settings.MAX_STREAMS, settings.POLL_SECONDS
        self.changed = threading.Condition()
        self.watched: Counter[int] = Counter()
        self.seen: dict[int, str] = {}
        self.ended: set[str] = set()
        self.poller: threading.Thread | None = None

    def enter(self, tenant_id: int) -> bool:
        """Count one more stream in, or return False at the cap."""
        with self.changed:
            if self.watched.total() >= self.most:
                return False
            self.watched[tenant_id] += 1
            self.metrics.streams.inc()
            if self.poller is None:
                self.poller = threading.Thread(target=self._poll, name="meter-watch", daemon=True)
                self.poller.start()
            return True

    def leave(self, tenant_id: int) -> None:
        """Count a stream out."""
        with self.changed:
            self.watched[tenant_id] -= 1
            self.metrics.streams.dec()
            if not self.watched[tenant_id]:
                del self.watched[tenant_id]
                self.seen.pop(tenant_id, None)

    def wait(self, tenant_id: int, known: str, seconds: float, sign_in: str) -> str | None:
        """The tenant's fingerprint once it differs from `known`, or whatever it is after `seconds`.

        None as soon as the sign-in of that mark is seen to have ended.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.seen.get(tenant_id, known) != known or sign_in in self.ended, seconds)
            return None if sign_in in self.ended else self.seen.get(tenant_id, known)

    def _poll(self) -> None:
        """Runs while anyone watches; the next stream starts it anew."""
        while True:
            with self.changed:
                watched = list(self.watched)
                if not watched:
                    self.poller = None
                    return
            self._look(watched)
            time.sleep(self.pause)

    def _look(self, watched: list[int]) -> None:
        try:
            with self.app.app_context():
                found = meters.fingerprints(watched, now=utc_now())
                ended = accounts.ended_since(utc_now() - ENDED_WITHIN)
        except SQLAlchemyError:  # the database is away; the streams beat on and the next look tells
            self.app.logger.warning("meter watch: database not reachable")
            return
        with self.changed:
            news, self.ended = bool(ended - self.ended), ended
            if news or any(self.seen.get(tenant_id) != mark for tenant_id, mark in found.items()):
                self.seen.update((tenant_id, mark) for tenant_id, mark in found.items() if tenant_id in self.watched)
                self.changed.notify_all()


def init_app(app: Flask) -> None:
    """Give the app its watch; the poller starts with the first stream."""
    app.extensions["meter_watch"] = MeterWatch(app)


def fragment(tenant_id: int, **context: Any) -> str:
    """The meters of a tenant as they stand, for a poll or one event of a stream."""

    def draw(now: datetime) -> str:
        tenant = db.session.get_one(Tenant, tenant_id)
        found = meters.current(db.session(), tenant, now=now)
        return render_template("partials/meters.html", m=found, now=now, **context)

    return drawn.once(tenant_id, f"meters {sorted(context.items())}", draw)


def stream(tenant_id: int, **context: Any) -> Response:
    """Server-sent events: the fragment again at each change of the tenant's meters. 204 when all streams are taken.

    Ends when the visitor's sign-in does, or their view as a tenant.
    """
    watch: MeterWatch = current_app.extensions["meter_watch"]
    if not watch.enter(tenant_id):
        return Response(status=204)
    token, view = current_user.token, current_user.view
    mark = accounts.mark_of(token)

    def draw() -> str | None:
        return fragment(tenant_id, **context) if still_signed_in(token, view) else None

    events = _Events(watch, tenant_id, stream_with_context(_events(watch, tenant_id, mark, draw)))
    return Response(
        events, mimetype="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


class _Events:
    """The event generator, counted out when the server closes it, even if it was never begun."""

    def __init__(self, watch: MeterWatch, tenant_id: int, events: Iterator[str]) -> None:
        self.events = events
        self._leave: Callable[[], None] = lambda: watch.leave(tenant_id)

    def __iter__(self) -> Iterator[str]:
        return self.events

    def close(self) -> None:
        """Called by the WSGI server at the end of the response, whatever ended it."""
        leave, self._leave = self._leave, lambda: None
        leave()
        if isinstance(self.events, Generator):
            self.events.close()


def _events(watch: MeterWatch, tenant_id: int, sign_in: str, draw: Callable[[], str | None]) -> Iterator[str]:
    known, drawn_at = "", 0.0
    while True:
        mark = watch.wait(tenant_id, known, BEAT_SECONDS, sign_in)
        if mark is None:
            return
        if mark != known or time.monotonic() - drawn_at > REDRAW_SECONDS:
            known, drawn_at = mark, time.monotonic()
            html = draw()
            db.session.remove()  # nothing is held while the stream waits
            if html is None:
                return
            yield "".join(f"data: {line}\n" for line in html.splitlines()) + "\n"
        else:
            db.session.remove()
        yield "event: beat\ndata: 1\n\n"
