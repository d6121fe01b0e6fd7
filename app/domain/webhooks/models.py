"""Endpoints, the messages to them, and each attempt to deliver one."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, Code, Id, Line, Ref, Utc, UtcDateTime


class WebhookEndpoint(Base):
    """Where messages go: of the provider (no tenant), who hears of all tenants, or of one tenant.

    Global, as accounts are: one statement finds the provider's endpoints and the tenant's that an event is for.
    """

    __tablename__ = "webhook_endpoint"
    __table_args__ = (CheckConstraint("(disabled_at IS NULL) = (disabled_why = '')", name="disabled_for_a_reason"),)
    id: Mapped[Id]
    tenant_id: Mapped[Ref | None] = mapped_column(ForeignKey("tenant.id"), index=True)
    url: Mapped[str] = mapped_column(String(1000))
    note: Mapped[Line]
    types: Mapped[str] = mapped_column(Text)  # of events, each between blanks: " invoice.final payment.received "
    # The secret is derived from it and the installation's key, see signing.py; until `previous_until` the one before
    # signs, too.
    salt: Mapped[str] = mapped_column(String(32))
    previous_salt: Mapped[str] = mapped_column(String(32), default="")
    previous_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[Utc]
    failing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)  # nothing was delivered since then
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    disabled_why: Mapped[str] = mapped_column(String(16), default="")  # person, gone, failing

    @property
    def event_types(self) -> list[str]:
        """What it hears of."""
        return self.types.split()


class WebhookMessage(Base):
    """One event for one endpoint, written by the transaction of what happened; it waits until it is delivered or given
    up. `key` makes telling twice tell once."""

    __tablename__ = "webhook_message"
    __table_args__ = (
        Index("told_once", "endpoint_id", "key", unique=True),
        CheckConstraint("next_at IS NULL OR delivered_at IS NULL", name="delivered_waits_for_nothing"),
        Index(
            "webhooks_waiting",
            "next_at",
            "endpoint_id",
            "id",
            sqlite_where=text("next_at IS NOT NULL"),
            postgresql_where=text("next_at IS NOT NULL"),
        ),
        Index(
            "webhooks_under_way",
            "endpoint_id",
            sqlite_where=text("leased_until IS NOT NULL"),
            postgresql_where=text("leased_until IS NOT NULL"),
        ),
    )
    endpoint_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("webhook_endpoint.id"), primary_key=True, autoincrement=False
    )
    id: Mapped[Id]  # the same for every endpoint that is told of the event
    key: Mapped[Line]
    type: Mapped[Code]
    tenant: Mapped[Code]  # its slug; empty: it is about none
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    occurred_at: Mapped[Utc]
    next_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # none: delivered, or given up
    leased_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(default=0)
    delivered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    @property
    def state(self) -> str:
        """`waiting`, `delivered` or `failed`."""
        return "delivered" if self.delivered_at else "waiting" if self.next_at else "failed"


class WebhookAttempt(Base):
    """One try at a message: what was answered, or why nothing was. Append-only."""

    __tablename__ = "webhook_attempt"
    __table_args__ = (
        ForeignKeyConstraint(["endpoint_id", "message_id"], ["webhook_message.endpoint_id", "webhook_message.id"]),
    )
    endpoint_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    message_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[Id]
    at: Mapped[Utc]
    status: Mapped[int | None]  # of HTTP; none: no answer
    duration_ms: Mapped[int]
    answer: Mapped[str] = mapped_column(Text)  # its beginning
    problem: Mapped[Line]  # empty: delivered
