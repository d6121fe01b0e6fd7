"""A tenant's tie to a package, and its history."""

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db import Base, Code, Id, Line, Ref, TenantId, Utc, UtcDateTime
from app.domain.catalog.models import Package
from app.domain.tenants.models import Tenant


class Subscription(Base):
    """At most one is live per tenant. `anchor_on` is the local date its periods are counted from: the day it began,
    or the one after its trial, so that no period is half a trial. `status` moves by `life.TRANSITIONS` alone."""

    __tablename__ = "subscription"
    __table_args__ = (
        CheckConstraint("ended_at IS NULL OR ended_at >= started_at", name="ends_after_it_starts"),
        CheckConstraint("pending_package_id IS NULL OR pending_at IS NOT NULL", name="pending_has_its_time"),
        CheckConstraint("status IN ('trial', 'active', 'past_due', 'suspended', 'cancelled')", name="known_status"),
        CheckConstraint("(status = 'cancelled') = (ended_at IS NOT NULL)", name="cancelled_once_ended"),
        CheckConstraint("starts_on <= anchor_on", name="a_trial_comes_first"),
        Index(
            "changes_pending",
            "pending_at",
            sqlite_where=text("pending_at IS NOT NULL"),
            postgresql_where=text("pending_at IS NOT NULL"),
        ),
        Index(
            "one_live_subscription",
            "tenant_id",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )
    tenant_id: Mapped[TenantId]
    id: Mapped[Id]
    package_id: Mapped[Ref] = mapped_column(ForeignKey("package.id"), index=True)
    status: Mapped[str] = mapped_column(String(16), default="active")
    starts_on: Mapped[date]  # the local day it began
    anchor_on: Mapped[date]
    started_at: Mapped[Utc]
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    open_from: Mapped[date]  # first day of the oldest period that still takes usage; reports of older days are late
    # To which package it moves at its period's end (none: it ends), and who said so; see `moves.take_effect`.
    pending_package_id: Mapped[Ref | None] = mapped_column(ForeignKey("package.id"))
    pending_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    pending_by: Mapped[Line] = mapped_column(default="")

    tenant: Mapped[Tenant] = relationship(lazy="joined")
    package: Mapped[Package] = relationship(lazy="joined", foreign_keys=package_id)
    pending_package: Mapped[Package | None] = relationship(foreign_keys=pending_package_id)

    @property
    def ends_at(self) -> datetime | None:
        """When it will end, where that was said."""
        return self.pending_at if self.pending_package_id is None else None


class SubscriptionSegment(Base):
    """On which package the subscription was, `[started_at, ended_at)`."""

    __tablename__ = "subscription_segment"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "subscription_id"], ["subscription.tenant_id", "subscription.id"]),
        Index("segments_in_order", "tenant_id", "subscription_id", "started_at"),
    )
    tenant_id: Mapped[TenantId]
    id: Mapped[Id]
    subscription_id: Mapped[int] = mapped_column(BigInteger)
    package_id: Mapped[Ref] = mapped_column(ForeignKey("package.id"))
    started_at: Mapped[Utc]
    started_on: Mapped[date | None]  # the tenant's own day then, which proration counts; of old rows: that of its zone
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    package: Mapped[Package] = relationship(lazy="joined")


class SubscriptionEvent(Base):
    """One step of a subscription's life: what it became, when and why. Append-only."""

    __tablename__ = "subscription_event"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "subscription_id"], ["subscription.tenant_id", "subscription.id"]),
        Index("events_in_order", "tenant_id", "subscription_id", "id"),
    )
    tenant_id: Mapped[TenantId]
    id: Mapped[Id]
    subscription_id: Mapped[Ref]
    at: Mapped[Utc]
    status: Mapped[str] = mapped_column(String(16))
    why: Mapped[Code]  # started, trial_over, overdue, unpaid, paid, staff, cancelled
    actor: Mapped[Line]
