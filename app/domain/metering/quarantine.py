"""What could not be counted: look at it, read it again, or discard it with a reason.

Reading a stored body again is the parsers' work (`app/pbx/reread.py`); here it is counted and closed in one
transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, tuple_, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid, NotFound
from app.core.usage import Ignored, Unreadable, UsageEvent
from app.db import rowcount
from app.domain.accounts.models import Source
from app.domain.audit import service as audit
from app.domain.metering.ingest import ingest
from app.domain.metering.models import Quarantined
from app.domain.metering.reports import Report, Result

PAGE_SIZE = 20
MAX_REASON = 200
RESOLUTIONS = {"recorded": "replayed", "duplicate": "duplicate", "ignored": "ignored"}  # by what a replay came to
_OPEN_AGAIN = {"resolved_at": None, "resolution": "", "resolved_by": ""}


@dataclass(frozen=True, slots=True)
class Entry:
    """A report kept aside, and the source that sent it."""

    report: Quarantined
    source: Source


@dataclass(frozen=True, slots=True)
class QuarantinePage:
    """Entries newest first, and where the next older page begins (None at the end)."""

    entries: list[Entry]
    older: tuple[int] | None


def find_open(
    session: Session, *, reason: str = "", tenant_ref: str = "", after: int | None = None, most: int = PAGE_SIZE
) -> QuarantinePage:
    """Open entries by keyset, of one reason and of one tenant reference when named. One statement."""
    statement = (
        select(Quarantined, Source)
        .join(Source, Source.id == Quarantined.source_id)
        .where(Quarantined.resolved_at.is_(None))
        .order_by(Quarantined.id.desc())
        .limit(most + 1)
    )
    if reason:
        statement = statement.where(Quarantined.reason == reason)
    if tenant_ref:
        statement = statement.where(func.lower(Quarantined.tenant_ref) == tenant_ref.lower())
    if after is not None:
        statement = statement.where(Quarantined.id < after)
    rows = [Entry(*row) for row in session.execute(statement)]
    return QuarantinePage(rows[:most], (rows[most - 1].report.id,) if len(rows) > most else None)


def count_by_reason(session: Session) -> dict[str, int]:
    """How many entries are open, by reason, most first."""
    rows = session.execute(
        select(Quarantined.reason, func.count())
        .where(Quarantined.resolved_at.is_(None))
        .group_by(Quarantined.reason)
        .order_by(func.count().desc(), Quarantined.reason)
    )
    return {reason: count for reason, count in rows}


def count_alike(session: Session, entries: Sequence[Entry]) -> dict[int, int]:
    """For each entry's id how many open ones have its reason and its tenant reference. One statement."""
    keys = {(entry.report.reason, entry.report.tenant_ref) for entry in entries}
    if not keys:
        return {}
    pair = tuple_(Quarantined.reason, Quarantined.tenant_ref)
    rows = session.execute(
        select(Quarantined.reason, Quarantined.tenant_ref, func.count())
        .where(Quarantined.resolved_at.is_(None), pair.in_(list(keys)))
        .group_by(Quarantined.reason, Quarantined.tenant_ref)
    )
    found = {(reason, ref): count for reason, ref, count in rows}
    return {each.report.id: found.get((each.report.reason, each.report.tenant_ref), 1) for each in entries}


def get_open(session: Session, entry_id: int) -> Entry:
    """One open entry. Raises NotFound, or Conflict (`already_resolved`) when someone was quicker."""
    row = session.execute(
        select(Quarantined, Source).join(Source, Source.id == Quarantined.source_id).where(Quarantined.id == entry_id)
    ).first()
    if row is None:
        raise NotFound("unknown_entry", "There is no such entry in quarantine.")
    if row.Quarantined.resolved_at is not None:
        raise Conflict("already_resolved", "This entry has been dealt with already.")
    return Entry(*row)


def like(session: Session, entry: Quarantined) -> list[Entry]:
    """The open entries with the same reason and the same tenant reference, oldest first, `entry` among them."""
    rows = session.execute(
        select(Quarantined, Source)
        .join(Source, Source.id == Quarantined.source_id)
        .where(
            Quarantined.resolved_at.is_(None),
            tuple_(Quarantined.reason, Quarantined.tenant_ref) == (entry.reason, entry.tenant_ref),
        )
        .order_by(Quarantined.id)
    )
    return [Entry(*row) for row in rows]


def sent_id(entry: Quarantined) -> str:
    """The id the sender gave, or empty: what named none is kept under the hash of its body."""
    return "" if entry.external_id == entry.content_hash else entry.external_id


def replay(
    session: Session, entry_id: int, outcome: UsageEvent | Ignored | Unreadable, *, actor: str, now: datetime
) -> Result:
    """Count the body as it reads now, and close its entry if that succeeds, in the running transaction.

    `recorded`, `duplicate` and `ignored` (it is no usage after all) close it; with `conflict` or `quarantined`
    it stays open under the reason of today. Raises NotFound, Conflict (`already_resolved`); LostRace as `ingest`.
    """
    entry = get_open(session, entry_id).report
    # Closed first and reopened when it fails: of two people who replay at once the second is refused here.
    _resolve(session, entry_id, "replayed", actor, now)
    result = _read_again(session, entry, outcome, now)
    if result.status in RESOLUTIONS:
        _set(session, entry_id, resolution=RESOLUTIONS[result.status])
        details: dict[str, Any] = {"result": result.status, "external_id": entry.external_id}
        audit.record(session, actor, "quarantine.replay", f"quarantine:{entry_id}", now=now, **details)
    else:
        _set(session, entry_id, reason=result.code, detail=result.detail, **_OPEN_AGAIN)
    return result


def discard(session: Session, entry_ids: Sequence[int], why: str, *, actor: str, now: datetime) -> None:
    """Close entries without counting them, for a reason that the audit trail keeps.

    Raises Invalid (`missing_reason`), NotFound, Conflict (`already_resolved`).
    """
    if not why.strip() or len(why) > MAX_REASON:
        raise Invalid("missing_reason", f"Say why, in at most {MAX_REASON} characters.", field="why")
    for entry_id in entry_ids:
        entry = get_open(session, entry_id).report
        _resolve(session, entry_id, "discarded", actor, now)
        details: dict[str, Any] = {"why": why.strip(), "external_id": entry.external_id, "reason": entry.reason}
        audit.record(session, actor, "quarantine.discard", f"quarantine:{entry_id}", now=now, **details)


def _read_again(
    session: Session, entry: Quarantined, outcome: UsageEvent | Ignored | Unreadable, now: datetime
) -> Result:
    if isinstance(outcome, Ignored):
        return Result("ignored", outcome.reason)
    if isinstance(outcome, Unreadable):
        return Result("quarantined", outcome.code, outcome.detail)
    if outcome.external_id[:255] != entry.external_id:
        # Read for the first time, it has a name of its own; under the same name a failure finds this very row.
        if _is_kept(session, entry, outcome.external_id[:255]):
            return Result("duplicate")
        _set(session, entry.id, external_id=outcome.external_id[:255])
    report = Report(outcome, entry.body, entry.format, entry.content_type)
    result = ingest(session, entry.source_id, [report], now=now)[0]
    if result.status == "duplicate" and result.code:
        return Result("quarantined", result.code, result.detail)  # a repeat of the entry itself, not of a record
    return result


def _is_kept(session: Session, entry: Quarantined, external_id: str) -> bool:
    """Whether the same body stands in quarantine under this id already."""
    same = (entry.source_id, external_id, entry.content_hash)
    key = tuple_(Quarantined.source_id, Quarantined.external_id, Quarantined.content_hash)
    return session.scalar(select(Quarantined.id).where(key == same)) is not None


def _resolve(session: Session, entry_id: int, resolution: str, actor: str, now: datetime) -> None:
    closed = session.execute(
        update(Quarantined)
        .where(Quarantined.id == entry_id, Quarantined.resolved_at.is_(None))
        .values(resolved_at=now, resolution=resolution, resolved_by=actor)
    )
    if rowcount(closed) != 1:
        raise Conflict("already_resolved", "This entry has been dealt with already.")


def _set(session: Session, entry_id: int, **values: object) -> None:
    session.execute(update(Quarantined).where(Quarantined.id == entry_id).values(**values))
