"""`flask worker`: does the jobs, one after the other, until it is told to stop."""

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import click
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy.exc import DBAPIError

from app import memory
from app.config import Settings
from app.core.clock import utc_now
from app.db import db, run_in_transaction
from app.deliveries import Deliveries, deliver_all
from app.domain.audit import origin
from app.domain.jobs import service as jobs
from app.jobs import PERIODIC, claim_next, perform

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@click.command("worker")
@click.option("--once", is_flag=True, help="Do what is due now, and end.")
@click.option("--parent", type=int, default=0, hidden=True, help="End when this process is no longer the parent.")
@with_appcontext
def worker(once: bool, parent: int) -> None:
    """Do the jobs: send mail, webhooks and whatever else was asked for. Any number of workers may run."""
    settings: Settings = current_app.config["RINGPLAN"]
    memory.collect_rarely()
    work = Worker(settings)
    if once:
        _do_what_is_due(work)
        return
    with _told_to_stop() as told, _delivering():
        while not told(0) and parent in (0, os.getppid()):
            if not _survive(work):
                told(settings.JOB_POLL_SECONDS)


class Worker:
    """One worker's memory: when it did the periodic acts, and what it complained about last."""

    def __init__(self, settings: Settings) -> None:
        self.lease = timedelta(seconds=settings.JOB_LEASE_SECONDS)
        self.next_at = dict.fromkeys(PERIODIC, 0.0)  # on the monotonic clock
        self.complaint = ""

    def turn(self) -> bool:
        """The periodic acts that are due, and one job; False when there was none."""
        try:
            with origin.coming_from(origin.WORKER):
                return self._act()
        finally:
            db.session.remove()

    def _act(self) -> bool:
        self._repeat()
        job = claim_next(self.lease) if jobs.is_any_due(db.session(), now=utc_now()) else None
        if job is None:
            return False
        began_at = time.monotonic()
        problem = perform(job)
        fields = {
            "job": job.id,
            "kind": job.kind,
            "attempt": job.attempts,
            "ms": round((time.monotonic() - began_at) * 1000),
        }
        if problem:  # its words may name people: the page of jobs has them
            current_app.logger.warning("job failed", extra={"fields": {**fields, "problem": problem.partition(":")[0]}})
        else:
            current_app.logger.info("job", extra={"fields": fields})
        return True

    def _repeat(self) -> None:
        for periodic, at in self.next_at.items():
            if time.monotonic() >= at:
                self.next_at[periodic] = time.monotonic() + periodic.every.total_seconds()
                run_in_transaction(partial(periodic.act, now=utc_now()))


def _do_what_is_due(work: Worker) -> None:
    try:
        while work.turn():
            pass
        deliver_all()
    except DBAPIError as error:
        raise click.ClickException(f"the database refuses: {str(error.orig).splitlines()[0]}") from None


def _survive(work: Worker) -> bool:
    """A turn; what went wrong, such as a database that is away, is said once. A claim under way runs out."""
    try:
        done = work.turn()
    except Exception as error:
        complaint = f"{type(error).__name__}: {error}".splitlines()[0]
        if complaint != work.complaint:
            current_app.logger.error("worker: %s; trying again", complaint)
        work.complaint = complaint
        return False
    work.complaint = ""
    return done


@contextmanager
def _delivering() -> Iterator[None]:
    """Webhooks have threads of their own, so that a slow receiver holds up no mail and no bill run."""
    deliveries = Deliveries(current_app._get_current_object())  # type: ignore[attr-defined]
    deliveries.start()
    try:
        yield
    finally:
        deliveries.stop()


@contextmanager
def _told_to_stop() -> Iterator[Callable[[float], bool]]:
    """`told(seconds)` waits, and is True once SIGTERM or SIGINT came: a signal never interrupts a job."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    # The interpreter writes each signal to the socket; nothing is read from it, so that it stays told.
    before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(theirs.fileno())
    try:
        yield lambda seconds: bool(select.select([ours], [], [], seconds)[0])
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        ours.close()
        theirs.close()
