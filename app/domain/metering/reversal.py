"""Take a record back: by a new record that is its negative. The original stays. README.md, "Reversal"."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid, NotFound
from app.core.ids import first_id, new_id
from app.domain.audit import service as audit
from app.domain.catalog.models import PackageLimit
from app.domain.metering import opening, store
from app.domain.metering.models import MeterBeyond, UsageRecord
from app.domain.metering.opening import MeterKey
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant

MAX_REASON = 255
_SLACK = timedelta(days=2)  # a time zone, and a report that was ahead of its time


def reverse(
    session: Session, tenant: Tenant, record_id: int, reason: str, *, actor: str, now: datetime
) -> list[UsageRecord]:
    """Reverse a record of the tenant; returns what was written: its negative, and what moves into the limit for it.

    What the record had taken from the limit covers the earliest of what lay beyond. Raises NotFound
    (`unknown_record`), Invalid (`missing_reason`) and Conflict (`already_reversed`, `is_reversal`, `period_closed`).
    """
    reason = reason.strip()[:MAX_REASON]
    if not reason:
        raise Invalid("missing_reason", "Say why the record is reversed.", field="reason")
    record = session.get(UsageRecord, (tenant.id, record_id))
    if record is None:
        raise NotFound("unknown_record", "The tenant has no such record.")
    _check_open(session, tenant, record)
    used, carried_in = _add_to_meter(session, record, -record.quantity, 1)  # locks it: what follows is as it stands
    if session.scalar(
        select(UsageRecord.id).where(UsageRecord.tenant_id == tenant.id, UsageRecord.reverses_id == record.id)
    ):
        raise Conflict("already_reversed", "The record is reversed already.")
    written = [_negative(record, reason, now)]
    _add_beyond(session, written[0])
    for part in _covered(session, tenant, record, used, carried_in):
        moved = _moved(record, part, len(written), reason, now)
        written.append(moved)
        _add_beyond(session, moved)
    if len(written) > 1:
        _add_to_meter(session, record, 0, len(written) - 1)
    _add_to_day(session, tenant, record, len(written))
    session.add_all(written)
    session.flush()
    opening.carry_on(session.connection(), MeterKey(tenant.id, record.resource_code, record.period_on))
    subject, external_id = f"tenant:{tenant.slug}", record.external_id
    audit.record(
        session, actor, "usage.reverse", subject, now=now, tenant_id=tenant.id, record=external_id, reason=reason
    )
    return written


def _check_open(session: Session, tenant: Tenant, record: UsageRecord) -> None:
    if record.reverses_id is not None or record.reversal_reason:
        raise Conflict("is_reversal", "A reversal cannot be reversed.")
    if record.period_on < subscriptions.open_from(session, tenant.id):
        raise Conflict("period_closed", "The period of this record is closed; credit it on an invoice.")


def _covered(
    session: Session, tenant: Tenant, record: UsageRecord, used: int, carried_in: int
) -> Iterator[tuple[MeterBeyond, int, int]]:
    """What lay beyond and fits into the limit now, earliest price first: (beyond, from carried, from allowance)."""
    beyond = list(
        session.scalars(select(MeterBeyond).where(*_meter_key(MeterBeyond, record), MeterBeyond.quantity > 0))
    )
    included = _included(session, tenant, record)
    rightly = 0 if included is None else max(0, used - included - carried_in)
    carried = record.from_carried
    room = min(sum(row.quantity for row in beyond) - rightly, carried + record.from_allowance)
    for row in sorted(beyond, key=lambda row: _first_of(session, row)) if room > 0 else ():
        taken = min(room, row.quantity)
        from_carried = min(taken, carried)
        room, carried = room - taken, carried - from_carried
        if taken:
            yield row, from_carried, taken - from_carried


def _included(session: Session, tenant: Tenant, record: UsageRecord) -> int | None:
    subscription = subscriptions.live(session, tenant.id)
    if subscription is None:
        return None
    limit = session.get(PackageLimit, (subscription.package.revision_id, record.resource_code))
    return None if limit is None else limit.included


def _first_of(session: Session, row: MeterBeyond) -> int:
    """The first record at that price; those from before the period are not looked through."""
    begins = datetime.combine(row.period_on, time(), UTC) - _SLACK
    return (
        session.scalar(
            select(func.min(UsageRecord.id)).where(
                *_meter_key(UsageRecord, row),
                UsageRecord.id >= first_id(begins),
                UsageRecord.beyond > 0,
                UsageRecord.beyond_as == row.beyond_as,
                UsageRecord.beyond_price_micros == row.price_micros,
            )
        )
        or 0
    )


def _meter_key(
    model: type[MeterBeyond] | type[UsageRecord], of: UsageRecord | MeterBeyond
) -> Iterator[ColumnElement[bool]]:
    yield model.tenant_id == of.tenant_id
    yield model.resource_code == of.resource_code
    yield model.period_on == of.period_on


def _negative(record: UsageRecord, reason: str, now: datetime) -> UsageRecord:
    return _copy(
        record,
        external_id=f"reversal:{record.id}",
        measured=-record.measured,
        quantity=-record.quantity,
        from_allowance=-record.from_allowance,
        from_carried=-record.from_carried,
        beyond=-record.beyond,
        beyond_as=record.beyond_as,
        beyond_price_micros=record.beyond_price_micros,
        reverses_id=record.id,
        reversal_reason=reason,
        received_at=now,
    )


def _moved(
    record: UsageRecord, part: tuple[MeterBeyond, int, int], number: int, reason: str, now: datetime
) -> UsageRecord:
    """A record of nothing whose parts move what lay beyond into the limit."""
    row, from_carried, from_allowance = part
    return _copy(
        record,
        external_id=f"reversal:{record.id}:{number}",
        measured=0,
        quantity=0,
        from_allowance=from_allowance,
        from_carried=from_carried,
        beyond=-(from_carried + from_allowance),
        beyond_as=row.beyond_as,
        beyond_price_micros=row.price_micros,
        reverses_id=None,
        reversal_reason=reason,
        received_at=now,
    )


def _copy(record: UsageRecord, **changed: Any) -> UsageRecord:
    """The record once more, as a row of its own: when and whose it was stays."""
    kept = ("tenant_id", "source_id", "resource_code", "occurred_at", "period_on", "late", "direction", "caller")
    same = {name: getattr(record, name) for name in (*kept, "callee", "call_id", "attributes")}
    return UsageRecord(id=new_id(), content_hash="", **same, **changed)


def _add_to_meter(session: Session, record: UsageRecord, quantity: int, records: int) -> tuple[int, int]:
    """Returns used and carried in after it."""
    row = {**_key(record), "used": quantity, "freed": 0, "records": records}
    meter = store.add_to_meters(session.connection(), [row])[0]
    return meter.used, meter.carried_in


def _add_beyond(session: Session, written: UsageRecord) -> None:
    if written.beyond:
        price = {"beyond_as": written.beyond_as, "price_micros": written.beyond_price_micros}
        store.add_beyond(session.connection(), [{**_key(written), **price, "quantity": written.beyond}])


def _add_to_day(session: Session, tenant: Tenant, record: UsageRecord, records: int) -> None:
    day = record.occurred_at.astimezone(ZoneInfo(tenant.timezone)).date()
    row = {"tenant_id": tenant.id, "day": day.isoformat(), "resource_code": record.resource_code}
    store.add_to_days(session.connection(), [{**row, "quantity": -record.quantity, "records": records}])


def _key(record: UsageRecord) -> dict[str, Any]:
    period_on = record.period_on.isoformat()
    return {"tenant_id": record.tenant_id, "resource_code": record.resource_code, "period_on": period_on}
