"""Quotes, what tenants ask their provider for, and what it offers them."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db import Base, Id, Line, Micros, Ref, TenantId, Utc, UtcDateTime
from app.domain.catalog.models import Package
from app.domain.tenants.models import Tenant


class Quote(Base):
    """What a change of package costs, promised until `valid_until` while `fingerprint` is what it rests on."""

    __tablename__ = "quote"
    __table_args__ = (
        CheckConstraint("effect IN ('now', 'period_end')", name="known_effect"),
        CheckConstraint("(accepted_at IS NULL) = (accepted_by = '')", name="accepted_by_someone"),
    )
    tenant_id: Mapped[TenantId]
    id: Mapped[Id]
    package_id: Mapped[Ref] = mapped_column(ForeignKey("package.id"))
    before_id: Mapped[Ref | None] = mapped_column(ForeignKey("package.id"))  # None: the tenant had no package
    effect: Mapped[str] = mapped_column(String(16))
    effective_on: Mapped[date]  # the tenant's own day
    currency: Mapped[str] = mapped_column(String(3))
    lines: Mapped[list[dict[str, Any]]] = mapped_column(JSON)  # `quote.QuoteLine`s
    limits: Mapped[list[dict[str, Any]]] = mapped_column(JSON)  # `quote.QuoteLimit`s
    due_now_micros: Mapped[Micros]
    next_on: Mapped[date]  # the next invoice, and what it comes to by what is known
    next_micros: Mapped[Micros]
    fingerprint: Mapped[str] = mapped_column(String(64))
    made_at: Mapped[Utc]
    made_by: Mapped[Line]
    valid_until: Mapped[Utc]
    accepted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    accepted_by: Mapped[Line] = mapped_column(default="")

    package: Mapped[Package] = relationship(lazy="joined", foreign_keys=package_id)
    before: Mapped[Package | None] = relationship(lazy="joined", foreign_keys=before_id)


class ChangeRequest(Base):
    """A tenant asks for a package that it may not take by itself; staff approves or declines it with words."""

    __tablename__ = "change_request"
    __table_args__ = (
        CheckConstraint("effect IN ('now', 'period_end')", name="known_effect"),
        CheckConstraint("status IN ('open', 'approved', 'declined', 'withdrawn')", name="known_status"),
        CheckConstraint("(status = 'open') = (decided_at IS NULL)", name="open_until_decided"),
        Index(
            "one_open_request",
            "tenant_id",
            unique=True,
            sqlite_where=text("status = 'open'"),
            postgresql_where=text("status = 'open'"),
        ),
    )
    tenant_id: Mapped[TenantId]
    id: Mapped[Id]
    package_id: Mapped[Ref] = mapped_column(ForeignKey("package.id"))
    effect: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16), default="open")
    words: Mapped[str] = mapped_column(Text, default="")  # of the tenant
    asked_at: Mapped[Utc]
    asked_by: Mapped[Line]
    answer: Mapped[str] = mapped_column(Text, default="")  # of the provider
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    decided_by: Mapped[Line] = mapped_column(default="")

    tenant: Mapped[Tenant] = relationship(lazy="joined")
    package: Mapped[Package] = relationship(lazy="joined")


class Offer(Base):
    """A package that the provider suggests to a tenant, which may take it, though it could not by itself."""

    __tablename__ = "offer"
    __table_args__ = (
        CheckConstraint("status IN ('open', 'taken', 'declined', 'withdrawn')", name="known_status"),
        CheckConstraint("(status = 'open') = (ended_at IS NULL)", name="open_until_ended"),
        Index(
            "one_open_offer",
            "tenant_id",
            unique=True,
            sqlite_where=text("status = 'open'"),
            postgresql_where=text("status = 'open'"),
        ),
    )
    tenant_id: Mapped[TenantId]
    id: Mapped[Id]
    package_id: Mapped[Ref] = mapped_column(ForeignKey("package.id"))
    status: Mapped[str] = mapped_column(String(16), default="open")
    offered_at: Mapped[Utc]
    offered_by: Mapped[Line]
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_by: Mapped[Line] = mapped_column(default="")

    tenant: Mapped[Tenant] = relationship(lazy="joined")
    package: Mapped[Package] = relationship(lazy="joined")
