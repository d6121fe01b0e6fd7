"""What could not be counted: look at it, read it again, or discard it with a reason.

Reading a stored body again is the parsers' work (`app/pbx/reread.py`); here it is counted and closed in one
transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, tuple_, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid, NotFound
from app.core.usage import Ignored, Unreadable
from app.db import rowcount
from app.domain.accounts.models import Source
from app.domain.audit import service as audit
from app.domain.metering import ingest
from app.domain.metering.ingest import Report, Result
from app.domain.metering.models import Quarantined

PAGE_SIZE = 20
MAX_REASON = 200


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


def replay(session: Session, entry_id: int, report: Report | Ignored, *, actor: str, now: datetime) -> Result:
    """Count the report as it reads now, and close its entry when it went in, in the running transaction.

    `recorded` and `duplicate` close it; otherwise it stays open under the reason of today. `ignored` closes it
    too: it turned out to be no usage. Raises NotFound, or Conflict (`already_resolved`); LostRace as `ingest`.
    """
    entry = get_open(session, entry_id).report
    # Closed first and reopened when it fails: of two people who replay at once the second is refused here.
    _resolve(session, entry_id, "replayed", actor, now)
    result = _read_again(session, entry, report, now)
    if result.status in ("recorded", "duplicate", "ignored"):
        resolution = {"recorded": "replayed", "duplicate": "duplicate", "ignored": "ignored"}[result.status]
        _set(session, entry_id, resolution=resolution)
        audit.record(
            session, actor, "quarantine.replay", f"quarantine:{entry_id}", now=now, result=result.status,
            external_id=entry.external_id,
        )  # fmt: skip
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
        audit.record(
            session, actor, "quarantine.discard", f"quarantine:{entry_id}", now=now, why=why.strip(),
            external_id=entry.external_id, reason=entry.reason,
        )  # fmt: skip


def _read_again(session: Session, entry: Quarantined, report: Report | Ignored, now: datetime) -> Result:
    """Count `report`; what still cannot be counted goes back to the very entry it came from."""
    if isinstance(report, Ignored):
        return Result("ignored", report.reason)
    result, problem = ingest.try_one(session, entry.source_id, report, now=now)
    if problem is not None:
        _set(session, entry.id, reason=problem.code, detail=problem.detail, **_REOPENED)
    return result


_REOPENED = {"resolved_at": None, "resolution": "", "resolved_by": ""}


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


__all__ = ["Unreadable"]
