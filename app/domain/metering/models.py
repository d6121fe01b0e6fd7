"""What was used: records, meters, the daily rollup, and what could not be counted."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, Code, Id, Line, Micros, Quantity, Ref, TenantId, Utc, UtcDateTime

# Of most tenants nearly every record is a call, and any page of calls is full at once. What is rarer is found by an
# index of its own, which costs a call nothing.
MOST_USED = "voice_minutes"


class UsageRecord(Base):
    """One metered act as the source reported it. Append-only: a mistake is reversed, never edited.

    Written by `ingest.py` without the ORM; this class is its schema and what pages read.
    """

    __tablename__ = "usage_record"
    __table_args__ = (
        UniqueConstraint("tenant_id", "source_id", "external_id", name="usage_sent_once"),
        # Finds the same identity reported for another tenant, which is a conflict.
        Index("usage_by_external_id", "source_id", "external_id"),
        Index("usage_newest_first", "tenant_id", "occurred_at", "id"),
        Index(
            "rare_usage_newest_first",
            "tenant_id",
            "resource_code",
            "occurred_at",
            "id",
            sqlite_where=text(f"resource_code <> '{MOST_USED}'"),
            postgresql_where=text(f"resource_code <> '{MOST_USED}'"),
        ),
        CheckConstraint("from_allowance + from_carried + beyond = quantity", name="parts_sum_to_the_whole"),
        CheckConstraint("quantity >= 0 OR reverses_id IS NOT NULL", name="only_a_reversal_is_negative"),
        CheckConstraint("measured >= 0 OR reverses_id IS NOT NULL", name="only_a_reversal_measures_less"),
        UniqueConstraint("tenant_id", "reverses_id", name="reversed_once"),
        # Few are late; an invoice tells them from the rest.
        Index(
            "late_usage",
            "tenant_id",
            "period_on",
            sqlite_where=text("late = 1"),
            postgresql_where=text("late"),
        ),
    )
    tenant_id: Mapped[TenantId]
    id: Mapped[Id]
    source_id: Mapped[Ref] = mapped_column(ForeignKey("source.id"))
    external_id: Mapped[Line]
    content_hash: Mapped[str] = mapped_column(String(32))  # of what was reported: tells a repeat from a conflict
    resource_code: Mapped[Code] = mapped_column(ForeignKey("resource.code"))
    measured: Mapped[Quantity]  # base units as reported
    quantity: Mapped[Quantity]  # base units billed, after the billing step; 0 for a direction that is not metered
    from_allowance: Mapped[Quantity]
    from_carried: Mapped[Quantity]
    beyond: Mapped[Quantity]  # what the limit did not cover
    beyond_as: Mapped[str] = mapped_column(String(8), default="")  # charge, notify or block (an overrun); empty: none
    beyond_price_micros: Mapped[Micros]  # per display unit, when charged
    occurred_at: Mapped[Utc]
    period_on: Mapped[date]  # first day of the period whose meter it counts in
    late: Mapped[bool]  # it happened in an earlier period, closed by then
    received_at: Mapped[Utc]
    direction: Mapped[str] = mapped_column(String(16), default="")
    caller: Mapped[Code] = mapped_column(default="")
    callee: Mapped[Code] = mapped_column(default="")
    call_id: Mapped[Line] = mapped_column(default="")
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON)
    reverses_id: Mapped[Ref | None]  # the record that this one takes back
    reversal_reason: Mapped[Line] = mapped_column(default="")


# The `period_on` of what has no period: what is allocated, and calls in progress.
NO_PERIOD = date(1970, 1, 1)


class Meter(Base):
    """What a tenant used of a resource in a period. `version` grows with every change, for live pages.

    Of an allocated resource `used` is what is held, of a concurrent one the calls in progress; both at NO_PERIOD.
    """

    __tablename__ = "meter"
    __table_args__ = (CheckConstraint("on_hold >= 0 AND carried_in >= 0", name="on_hold_is_not_negative"),)
    tenant_id: Mapped[TenantId]
    resource_code: Mapped[Code] = mapped_column(ForeignKey("resource.code"), primary_key=True)
    period_on: Mapped[date] = mapped_column(primary_key=True)  # its first day in the tenant's time zone
    used: Mapped[Quantity]
    on_hold: Mapped[Quantity] = mapped_column(default=0)  # sum of what the open holds reserve
    carried_in: Mapped[Quantity] = mapped_column(default=0)
    records: Mapped[Quantity] = mapped_column(default=0)  # how many are counted in it
    version: Mapped[int] = mapped_column(BigInteger, default=1)


class MeterBeyond(Base):
    """What the records of a meter add up to beyond its limit, by what became of it and at which price."""

    __tablename__ = "meter_beyond"
    tenant_id: Mapped[TenantId]
    resource_code: Mapped[Code] = mapped_column(ForeignKey("resource.code"), primary_key=True)
    period_on: Mapped[date] = mapped_column(primary_key=True)
    beyond_as: Mapped[str] = mapped_column(String(8), primary_key=True)  # charge, notify or block
    price_micros: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)  # per display unit
    quantity: Mapped[Quantity]


# A hold that expired before its CDR came, or a call over whose CDR has not come yet.
UNSETTLED = "reported_at IS NULL AND (ended_as = 'expired' OR over_at IS NOT NULL AND ended_at IS NULL)"


class Hold(Base):
    """What is reserved for a call in progress. Ends exactly once: settled by its CDR, released or expired.

    A call that is over keeps what it used on hold until its CDR comes; `reported_at` says when it came, also
    for a hold that had expired by then.
    """

    __tablename__ = "hold"
    __table_args__ = (
        CheckConstraint("ended_as IN ('', 'settled', 'released', 'expired')", name="known_end"),
        CheckConstraint("(ended_at IS NULL) = (ended_as = '')", name="ends_once"),
        CheckConstraint("granted >= 0", name="granted_is_not_negative"),
        Index(
            "one_open_hold_a_call",
            "tenant_id",
            "source_id",
            "call_id",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index(
            "open_holds_by_expiry",
            "tenant_id",
            "expires_at",
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index(
            "unreported_holds_by_call",
            "source_id",
            "call_id",
            sqlite_where=text("reported_at IS NULL"),
            postgresql_where=text("reported_at IS NULL"),
        ),
        Index(
            "unsettled_holds",
            "created_at",
            "id",
            sqlite_where=text(UNSETTLED),
            postgresql_where=text(UNSETTLED),
        ),
    )
    tenant_id: Mapped[TenantId]
    id: Mapped[Id]
    source_id: Mapped[Ref] = mapped_column(ForeignKey("source.id"))
    call_id: Mapped[Line]
    resource_code: Mapped[Code] = mapped_column(ForeignKey("resource.code"))
    period_on: Mapped[date]  # of the meter that it reserves from
    granted: Mapped[Quantity]  # base units reserved; what the call used, once it is over
    direction: Mapped[str] = mapped_column(String(16), default="")
    caller: Mapped[Code] = mapped_column(default="")
    callee: Mapped[Code] = mapped_column(default="")
    created_at: Mapped[Utc]
    expires_at: Mapped[Utc]
    over_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the call hung up: no longer in progress
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_as: Mapped[str] = mapped_column(String(8), default="")
    reported_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Prepaid(Base):
    """What a tenant that pays in advance has to its credit. Without a row: it pays its invoices afterwards.

    A grant that may cost money takes the row first, so that calls at the same time never count on the same money.
    """

    __tablename__ = "prepaid"
    __table_args__ = (
        CheckConstraint("tax_ppm >= 0 AND tax_ppm <= 1000000", name="a_share"),
        CheckConstraint("low_micros >= 0", name="low_is_not_negative"),
        CheckConstraint("told IN ('', 'low', 'empty')", name="known_state"),
    )
    tenant_id: Mapped[TenantId]
    currency: Mapped[str] = mapped_column(String(3))
    credit_micros: Mapped[Micros]  # the ledger's balance with its sign turned, moved by whoever moves the ledger
    tax_ppm: Mapped[int]  # that comes on top of the prices
    low_micros: Mapped[Micros]  # the balance is called low from here on down
    told: Mapped[str] = mapped_column(String(8), default="")  # of which state its readers know: low, empty, or none


class Refusal(Base):
    """A call or an addition that a limit or a state refused: which, and how things stood."""

    __tablename__ = "refusal"
    __table_args__ = (
        # A PBX that asks again for the same call is refused again, and told of once.
        Index(
            "refused_once_a_call",
            "tenant_id",
            "source_id",
            "call_id",
            "reason",
            unique=True,
            sqlite_where=text("call_id <> ''"),
            postgresql_where=text("call_id <> ''"),
        ),
        Index("refusals_of_a_tenant", "tenant_id", "refused_at", "id"),
        Index("refusals_newest_first", "refused_at", "id"),
    )
    tenant_id: Mapped[TenantId]
    id: Mapped[Id]
    refused_at: Mapped[Utc]
    reason: Mapped[Code]  # quota_exhausted, concurrency_reached, destination_blocked, limit_reached, ...
    resource_code: Mapped[Code] = mapped_column(default="")  # whose limit was met; empty: none was
    included: Mapped[Quantity | None]
    carried_in: Mapped[Quantity] = mapped_column(default=0)
    used: Mapped[Quantity] = mapped_column(default=0)
    on_hold: Mapped[Quantity] = mapped_column(default=0)
    wanted: Mapped[Quantity] = mapped_column(default=1)  # the least that would have been enough
    source_id: Mapped[Ref | None] = mapped_column(ForeignKey("source.id"))  # none: someone in the portal
    call_id: Mapped[Line] = mapped_column(default="")
    direction: Mapped[str] = mapped_column(String(16), default="")
    caller: Mapped[Code] = mapped_column(default="")
    callee: Mapped[Line] = mapped_column(default="")  # or the name of what should have been added


class ThresholdCrossing(Base):
    """A tenant's use of a resource reached a share of what it has in a period; once per share and period."""

    __tablename__ = "threshold_crossing"
    __table_args__ = (Index("crossings_newest_first", "crossed_at"),)
    tenant_id: Mapped[TenantId]
    resource_code: Mapped[Code] = mapped_column(ForeignKey("resource.code"), primary_key=True)
    period_on: Mapped[date] = mapped_column(primary_key=True)
    percent: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    crossed_at: Mapped[Utc]
    used: Mapped[Quantity]
    total: Mapped[Quantity]  # included + carried in, as it was then


class UsageDay(Base):
    """Daily rollup in the tenant's time zone, kept by the transaction that writes the records."""

    __tablename__ = "usage_day"
    tenant_id: Mapped[TenantId]
    day: Mapped[date] = mapped_column(primary_key=True)
    resource_code: Mapped[Code] = mapped_column(ForeignKey("resource.code"), primary_key=True)
    quantity: Mapped[Quantity]
    records: Mapped[int]


class Quarantined(Base):
    """A report that was accepted and could not be counted; kept whole until someone decides."""

    __tablename__ = "quarantined"
    __table_args__ = (
        UniqueConstraint("source_id", "external_id", "content_hash", name="quarantined_once"),
        Index("quarantine_open", "resolved_at", "id"),
    )
    id: Mapped[Id]
    source_id: Mapped[Ref] = mapped_column(ForeignKey("source.id"))
    external_id: Mapped[Line]
    content_hash: Mapped[str] = mapped_column(String(32))
    tenant_ref: Mapped[Line]  # as sent
    reason: Mapped[Code]  # unknown_tenant, unknown_resource, no_subscription, conflict, unreadable_...
    detail: Mapped[str] = mapped_column(Text)
    format: Mapped[Code]  # event, freeswitch, asterisk: who reads `body` at a replay
    content_type: Mapped[Line] = mapped_column(default="")
    body: Mapped[str] = mapped_column(Text)
    received_at: Mapped[Utc]
    resolved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    resolution: Mapped[str] = mapped_column(String(16), default="")  # replayed, duplicate, discarded
    resolved_by: Mapped[Line] = mapped_column(default="")
