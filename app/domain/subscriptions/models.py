"""A tenant's tie to a package, and its history."""

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db import Base, Id, Line, Ref, TenantId, Utc, UtcDateTime
from app.domain.catalog.models import Package
from app.domain.tenants.models import Tenant


class Subscription(Base):
    """At most one is live per tenant. `anchor_on` is the local date its periods are counted from."""

    __tablename__ = "subscription"
    __table_args__ = (
        CheckConstraint("ended_at IS NULL OR ended_at >= started_at", name="ends_after_it_starts"),
        CheckConstraint("(pending_package_id IS NULL) = (pending_at IS NULL)", name="pending_as_a_whole"),
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
    anchor_on: Mapped[date]
    started_at: Mapped[Utc]
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    open_from: Mapped[date]  # first day of the oldest period that still takes usage; reports of older days are late
    # To which package it moves at its period's end, and who said so; carried out by `moves.take_effect`.
    pending_package_id: Mapped[Ref | None] = mapped_column(ForeignKey("package.id"))
    pending_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    pending_by: Mapped[Line] = mapped_column(default="")

    tenant: Mapped[Tenant] = relationship(lazy="joined")
    package: Mapped[Package] = relationship(lazy="joined", foreign_keys=package_id)
    pending_package: Mapped[Package | None] = relationship(foreign_keys=pending_package_id)


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
