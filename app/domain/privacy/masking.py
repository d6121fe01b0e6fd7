"""Retention of numbers: who called whom is masked after so many months, what it cost stays. README.md, "Retention".

A run is a row of jobs of a bounded slice each, every one of which asks for the next in its own transaction. Whatever
is masked twice is masked once, so that a run may be begun anew at any time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy import Select, func, select, tuple_, update
from sqlalchemy.orm import Session

from app.core.ids import first_id, new_id
from app.core.masking import masked
from app.core.periods import anchored_day
from app.domain.audit import service as audit
from app.domain.jobs import service as jobs
from app.domain.metering.models import Hold, Quarantined, Refusal, UsageRecord
from app.domain.privacy.models import Masking
from app.domain.subscriptions.life import SYSTEM
from app.domain.tenants.models import Tenant

KIND = "masking"
SLICE = 1_000  # rows read at once, and about as many masked in one transaction
PIECES = 100  # reads of one transaction
_SLACK = timedelta(days=1)  # ids are drawn a little before the moment that their row tells
_OVERLAP = timedelta(hours=1)  # of a transaction that drew its ids and has yet to commit

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """How far a run has come: the tenant, which of its tables, and the key of the last row that was looked at."""

    tenant_id: int = 0
    part: int = 0
    after: Key | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """What a run masks: what happened from `since` until `cutoff`, and what was reported after `mark` and is older."""

    since: datetime
    cutoff: datetime
    mark: int


@dataclass(frozen=True, slots=True)
class Read:
    """The next rows of a table and the key they are in order of; `is_last`, from the look at them, ends the walk."""

    rows: Sequence[Any]
    key: tuple[str, ...]
    is_last: bool


def begin_daily(session: Session, months: int, *, now: datetime) -> None:
    """Ask for the run of the day, once however often it is asked for; none while `months` is 0."""
    if months:
        run = _drawn(months, now)
        if jobs.enqueue(session, KIND, f"{KIND}/{months}/{run.cutoff:%Y-%m-%d}", _payload(run.id, Place()), now=now):
            session.add(run)


def begin(session: Session, months: int, *, now: datetime) -> Masking:
    """A run that whoever asks carries on with `advance`, as the command line does."""
    run = _drawn(months, now)
    session.add(run)
    session.flush()
    return run


def step(session: Session, payload: dict[str, Any], now: datetime) -> None:
    """One slice of a run, and the request for the next one. The job's handler."""
    place = Place(payload["tenant_id"], payload["part"], _read_key(payload["after"]))
    following = advance(session, payload["run_id"], place, actor=SYSTEM, now=now)
    if following:
        asked = _payload(payload["run_id"], following)
        jobs.enqueue(session, KIND, f"{KIND}/{payload['run_id']}/{new_id()}", asked, now=now)


def advance(session: Session, run_id: int, place: Place, *, actor: str, now: datetime) -> Place | None:
    """Mask what comes next after `place`; returns where to go on, None once the run has ended."""
    run = session.get_one(Masking, run_id, populate_existing=True)
    if run.ended_at:
        return None
    span, found = _span(session, run), 0
    for _ in range(PIECES):
        if not place.part and place.after is None:
            following = session.scalar(select(func.min(Tenant.id)).where(Tenant.id > place.tenant_id))
            if following is None:
                return _mask_reports(session, run, place, actor, now)
            place = replace(place, tenant_id=following)
        counter, read, mask = PARTS[place.part]
        slice_ = read(session, span, place.tenant_id, place.after)
        changed = mask(session, slice_.rows)
        setattr(run, counter, getattr(run, counter) + changed)
        place, found = _next(place, slice_), found + changed
        if found >= SLICE:
            break
    session.flush()
    return place


def latest(session: Session, most: int = 12) -> list[Masking]:
    """The newest runs, one that is under way first."""
    return list(session.scalars(select(Masking).order_by(Masking.id.desc()).limit(most)))


def cutoff_of(months: int, now: datetime) -> datetime:
    """What happened before then is older than `months`: the beginning of a day in UTC."""
    return datetime.combine(anchored_day(now.astimezone(UTC).date(), -months), time(), UTC)


def waiting_reports(session: Session, before: datetime) -> int:
    """How many reports in quarantine came before then and wait for somebody to decide; they are kept whole."""
    old = Quarantined.resolved_at.is_(None) & (Quarantined.received_at < before)
    return session.scalar(select(func.count()).select_from(Quarantined).where(old)) or 0


def _drawn(months: int, now: datetime) -> Masking:
    return Masking(
        id=new_id(), months=months, cutoff=cutoff_of(months, now), started_at=now,
        records=0, refusals=0, holds=0, reports=0,
    )  # fmt: skip


def _span(session: Session, run: Masking) -> Span:
    earlier = select(Masking).where(Masking.ended_at.is_not(None), Masking.id < run.id)
    before = session.scalar(earlier.order_by(Masking.id.desc()).limit(1))
    if before is None:
        return Span(datetime(1970, 1, 1, tzinfo=UTC), run.cutoff, 0)
    overlap = first_id(before.started_at) - first_id(before.started_at - _OVERLAP)
    return Span(min(before.cutoff, run.cutoff), run.cutoff, before.id - overlap)


def _next(place: Place, read: Read) -> Place:
    if not read.is_last:
        return replace(place, after=tuple(getattr(read.rows[-1], name) for name in read.key))
    return Place(place.tenant_id, (place.part + 1) % len(PARTS))


def _ordered(session: Session, statement: Select[*tuple[Any, ...]], key: Sequence[Any], after: Key | None) -> Read:
    """The next SLICE rows of `statement` by its key."""
    if after is not None:
        statement = statement.where(tuple_(*key) > after)
    rows = session.execute(statement.order_by(*key).limit(SLICE)).all()
    return Read(rows, tuple(each.name for each in key), len(rows) < SLICE)


def _records(session: Session, span: Span, tenant_id: int, after: Key | None) -> Read:
    record = UsageRecord
    statement = _RECORDS.where(
        record.tenant_id == tenant_id, record.occurred_at >= span.since, record.occurred_at < span.cutoff
    )
    return _ordered(session, statement, (record.occurred_at, record.id), after)


def _late_records(session: Session, span: Span, tenant_id: int, after: Key | None) -> Read:
    """What was reported since the run before, of a time that it had masked."""
    record = UsageRecord
    new = (record.tenant_id == tenant_id) & (record.id > span.mark)
    return _ordered(session, _RECORDS.where(new, record.occurred_at < span.since), (record.id,), after)


def _refusals(session: Session, span: Span, tenant_id: int, after: Key | None) -> Read:
    """Calls: without a source it was an addition in the portal, and `callee` names what should have been added."""
    refusal = Refusal
    statement = select(refusal.tenant_id, refusal.id, refusal.refused_at, refusal.caller, refusal.callee).where(
        refusal.tenant_id == tenant_id, refusal.refused_at >= span.since, refusal.refused_at < span.cutoff,
        refusal.source_id.is_not(None),
    )  # fmt: skip
    return _ordered(session, statement, (refusal.refused_at, refusal.id), after)


def _holds(session: Session, span: Span, tenant_id: int, after: Key | None) -> Read:
    """By id, which is their order in time: no index has their moments."""
    first = first_id(span.since - _SLACK) if span.mark else 0
    statement = select(Hold.tenant_id, Hold.id, Hold.created_at, Hold.caller, Hold.callee).where(
        Hold.tenant_id == tenant_id, Hold.id > first
    )
    read = _ordered(session, statement, (Hold.id,), after)
    old = [row for row in read.rows if row.created_at < span.cutoff]
    return Read(old, read.key, read.is_last or len(old) < len(read.rows))


def _mask_records(session: Session, rows: Sequence[Any]) -> int:
    """What else the sender said may name anybody: it was shown and never counted, and goes altogether."""
    changed = [{**_masked(row), "attributes": {}} for row in rows if _differs(row) or row.attributes]
    return _update(session, UsageRecord, changed)


def _mask_refusals(session: Session, rows: Sequence[Any]) -> int:
    return _update(session, Refusal, [_masked(row) for row in rows if _differs(row)])


def _mask_holds(session: Session, rows: Sequence[Any]) -> int:
    return _update(session, Hold, [_masked(row) for row in rows if _differs(row)])


def _masked(row: Any) -> dict[str, Any]:
    return {"tenant_id": row.tenant_id, "id": row.id, "caller": masked(row.caller), "callee": masked(row.callee)}


def _differs(row: Any) -> bool:
    return (masked(row.caller), masked(row.callee)) != (row.caller, row.callee)


def _update(session: Session, model: Any, rows: list[dict[str, Any]]) -> int:
    if rows:
        session.execute(update(model), rows)
    return len(rows)


def _mask_reports(session: Session, run: Masking, place: Place, actor: str, now: datetime) -> Place | None:
    """Empty what was resolved in quarantine, a slice at a time; with the last one the run has ended."""
    report = Quarantined
    old = (
        select(report.id)
        .where(report.received_at < run.cutoff, report.resolved_at.is_not(None), report.body != "")
        .order_by(report.id)
        .limit(SLICE)
    )
    ids = session.scalars(old).all()
    session.execute(update(report).where(report.id.in_(ids)).values(body="", detail=""))
    run.reports += len(ids)
    if len(ids) == SLICE:
        session.flush()
        return place
    run.ended_at = now
    counts = {name: getattr(run, name) for name in ("records", "refusals", "holds", "reports")}
    audit.record(session, actor, "privacy.mask", f"numbers:{run.cutoff:%Y-%m-%d}", now=now, months=run.months, **counts)
    return None


def _payload(run_id: int, place: Place) -> dict[str, Any]:
    after = place.after and [each.isoformat() if isinstance(each, datetime) else each for each in place.after]
    return {"run_id": run_id, "tenant_id": place.tenant_id, "part": place.part, "after": after}


def _read_key(kept: list[Any] | None) -> Key | None:
    return tuple(datetime.fromisoformat(each) if isinstance(each, str) else each for each in kept) if kept else None


_RECORDS = select(
    UsageRecord.tenant_id,
    UsageRecord.id,
    UsageRecord.occurred_at,
    UsageRecord.caller,
    UsageRecord.callee,
    UsageRecord.attributes,
)
PARTS: tuple[tuple[str, Callable[..., Read], Callable[[Session, Sequence[Any]], int]], ...] = (
    ("records", _records, _mask_records),
    ("records", _late_records, _mask_records),
    ("refusals", _refusals, _mask_refusals),
    ("holds", _holds, _mask_holds),
)
