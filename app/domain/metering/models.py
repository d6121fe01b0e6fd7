"""What was used: records, meters, the daily rollup, and what could not be counted."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, Code, Id, Line, Micros, Quantity, Ref, TenantId, Utc, UtcDateTime


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
        CheckConstraint("from_allowance + from_carried + beyond = quantity", name="parts_sum_to_the_whole"),
        CheckConstraint("quantity >= 0 AND measured >= 0", name="quantity_is_not_negative"),
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


class Meter(Base):
    """What a tenant used of a resource in a period. `version` grows with every change, for live pages."""

    __tablename__ = "meter"
    tenant_id: Mapped[TenantId]
    resource_code: Mapped[Code] = mapped_column(ForeignKey("resource.code"), primary_key=True)
    period_on: Mapped[date] = mapped_column(primary_key=True)  # its first day in the tenant's time zone
    used: Mapped[Quantity]
    carried_in: Mapped[Quantity] = mapped_column(default=0)
    beyond: Mapped[Quantity] = mapped_column(default=0)  # sum of the records' parts that the limit did not cover
    version: Mapped[int] = mapped_column(BigInteger, default=1)


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
