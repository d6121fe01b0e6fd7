"""The audit trail."""

from typing import Any

from sqlalchemy import JSON, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, Code, Id, Line, Ref, Utc


class AuditEntry(Base):
    """One change: who did what to which thing, in the transaction of the act itself. Never edited."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index("audit_by_subject", "subject", "id"),)
    id: Mapped[Id]
    at: Mapped[Utc]
    actor: Mapped[Line]  # an e-mail address, "source <code>", or "command line"
    act: Mapped[Code]  # package.publish, tenant.suspend, ...
    subject: Mapped[Line]  # package:<code>, tenant:<slug>, ...
    tenant_id: Mapped[Ref | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSON)


class Verification(Base):
    """What one run of `flask verify` found: an empty list when every invariant holds."""

    __tablename__ = "verification"
    id: Mapped[Id]
    at: Mapped[Utc]
    findings: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
