"""Ask for work in the transaction that wants it; claim it for a while, finish it once, or put it off."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, or_, select, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict
from app.core.ids import new_id
from app.db import insert_new, rowcount
from app.domain.audit import service as audit
from app.domain.jobs.models import Job

MAX_ATTEMPTS = 12  # with the delays below: about four hours
FIRST_DELAY, LONGEST_DELAY = timedelta(seconds=15), timedelta(hours=1)
KEPT_FOR = timedelta(days=90)  # what is done; until then its key is taken
PAGE_SIZE = 20
_MAX_ERROR = 2_000
_OPEN = Job.done_at.is_(None) & Job.dead_at.is_(None)


class LostLease(Exception):
    """The job was finished by somebody else meanwhile: what was done for it must not be kept."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that one worker may do until `leased_until`, which also tells its claim from any other."""

    id: int
    kind: str
    key: str
    payload: dict[str, Any]
    attempts: int  # this one included
    leased_until: datetime


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, and where the next page begins (None at the end)."""

    jobs: Sequence[Job]
    after: tuple[int] | None


def enqueue(
    session: Session | Connection,
    kind: str,
    key: str,
    payload: dict[str, Any],
    *,
    run_at: datetime | None = None,
    now: datetime,
) -> bool:
    """Ask for a job in the running transaction, for `run_at` or now. False: its `key` was asked for before."""
    return bool(enqueue_many(session, kind, {key: payload}, run_at=run_at, now=now))


def enqueue_many(
    session: Session | Connection,
    kind: str,
    payloads: Mapping[str, dict[str, Any]],
    *,
    run_at: datetime | None = None,
    now: datetime,
) -> int:
    """Ask for many jobs, each by its key, in one statement; returns how many had not been asked for before."""
    rows = [
        {"id": new_id(), "kind": kind, "key": key, "payload": payload, "created_at": now, "run_at": run_at or now}
        for key, payload in payloads.items()
    ]
    return len(insert_new(session, Job, rows, [Job.key])) if rows else 0


def is_any_due(session: Session, *, now: datetime) -> bool:
    """Whether `claim` would find something: a read, so that an idle worker takes no write lock."""
    return session.scalar(select(Job.id).where(*_due(now)).limit(1)) is not None


def claim(session: Session, *, now: datetime, lease: timedelta) -> Claimed | None:
    """The longest due job, this worker's own until `now + lease`; None when nothing is due.

    A claim that its worker did not finish is free again once the lease is over.
    """
    # Workers pass over one another's choice on PostgreSQL; on SQLite, which ignores it, writers queue.
    first = select(Job.id).where(*_due(now)).order_by(Job.run_at, Job.id).limit(1).with_for_update(skip_locked=True)
    row = session.execute(
        update(Job)
        .where(Job.id == first.scalar_subquery())
        .values(leased_until=now + lease, attempts=Job.attempts + 1)
        .returning(Job.id, Job.kind, Job.key, Job.payload, Job.attempts, Job.leased_until)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return None if row is None else Claimed(*row)


def finish(session: Session, job: Claimed, *, now: datetime) -> None:
    """Mark it done, before its effect and in the same transaction: from here on nobody else can have it.

    Who comes first has done it, though its lease may be over: would only the newest claim count, workers that take
    longer than a lease, as to a mail server that answers slowly, would send the same mail one after the other.
    Raises LostLease; the transaction must then be rolled back.
    """
    done = session.execute(
        update(Job)
        .where(Job.id == job.id, Job.done_at.is_(None))
        .values(done_at=now, leased_until=None, dead_at=None, last_error="")
        .execution_options(synchronize_session=False)
    )
    if rowcount(done) != 1:
        raise LostLease


def fail(session: Session, job: Claimed, error: str, *, now: datetime) -> None:
    """Put it off for longer and longer; after the last attempt it is dead. A claim that was lost changes nothing."""
    session.execute(
        update(Job)
        .where(*_claimed(job))
        .values(
            leased_until=None,
            last_error=error[:_MAX_ERROR].replace("\0", "\ufffd"),  # which PostgreSQL takes in no text
            run_at=now + _delay(job.attempts),
            dead_at=now if job.attempts >= MAX_ATTEMPTS else None,
        )
        .execution_options(synchronize_session=False)
    )


def try_again(session: Session, job_id: int, *, actor: str, now: datetime) -> None:
    """Let a dead or waiting job run now, with all its attempts. Raises Conflict (`job_not_waiting`)."""
    revived = _revive(session, Job.id == job_id, now)
    if not revived:
        raise Conflict("job_not_waiting", "This job is running, or has been done.")
    audit.record(session, actor, "job.retry", f"job:{revived[0]}", now=now)


def try_all_again(session: Session, *, actor: str, now: datetime) -> int:
    """Let every dead job run now; returns how many."""
    revived = _revive(session, Job.dead_at.is_not(None), now)
    if revived:
        audit.record(session, actor, "job.retry", "job:", now=now, jobs=len(revived))
    return len(revived)


def forget_done(session: Session, *, now: datetime) -> None:
    """Drop what was done long ago."""
    session.execute(delete(Job).where(Job.done_at < now - KEPT_FOR).execution_options(synchronize_session=False))


def find(session: Session, *, dead: bool, after: int | None = None, most: int = PAGE_SIZE) -> JobPage:
    """The dead jobs or those that wait, newest first."""
    statement = select(Job).where(Job.dead_at.is_not(None) if dead else _OPEN).order_by(Job.id.desc()).limit(most + 1)
    if after is not None:
        statement = statement.where(Job.id < after)
    rows = session.scalars(statement).all()
    return JobPage(rows[:most], (rows[most - 1].id,) if len(rows) > most else None)


def count_dead(session: Session) -> int:
    """How many jobs were given up."""
    return session.scalar(select(func.count()).where(Job.dead_at.is_not(None))) or 0


def count_waiting(session: Session) -> int:
    """How many jobs are still to be done."""
    return session.scalar(select(func.count()).where(_OPEN)) or 0


def _due(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return _OPEN, Job.run_at <= now, _is_free(now)


def _is_free(now: datetime) -> ColumnElement[bool]:
    return or_(Job.leased_until.is_(None), Job.leased_until <= now)


def _claimed(job: Claimed) -> tuple[ColumnElement[bool], ...]:
    return Job.id == job.id, Job.leased_until == job.leased_until, Job.done_at.is_(None)


def _revive(session: Session, which: ColumnElement[bool], now: datetime) -> Sequence[str]:
    return session.scalars(
        update(Job)
        .where(which, Job.done_at.is_(None), _is_free(now))
        .values(dead_at=None, leased_until=None, attempts=0, run_at=now)
        .returning(Job.key)
        .execution_options(synchronize_session=False)
    ).all()


def _delay(attempts: int) -> timedelta:
    """Doubled at each attempt, and up to a quarter more so that what failed together does not come back together."""
    delay = min(FIRST_DELAY * (1 << (attempts - 1)), LONGEST_DELAY)
    return delay * (1 + secrets.randbelow(251) / 1000)
