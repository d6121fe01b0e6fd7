"""The audit trail."""

from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, Code, Id, Line, Ref, Utc


class AuditEntry(Base):
    """One act: who did what to which thing from where, in the transaction of the act itself. Never edited.

    `hash` is over the row before and this row's content: see `chain.py`.
    """

    __tablename__ = "audit_entry"
    __table_args__ = (
        Index("audit_by_time", "at", "id"),
        Index("audit_by_subject", "subject", "at", "id"),
        Index("audit_by_actor", "actor", "at", "id"),
        Index("audit_by_act", "act", "at", "id"),
        Index("audit_by_tenant", "tenant_id", "at", "id"),
    )
    id: Mapped[Id]
    number: Mapped[int] = mapped_column(BigInteger, unique=True)  # 1, 2, 3 … without a gap, in the order of commits
    at: Mapped[Utc]
    actor: Mapped[Line]  # an e-mail address, "source <code>", or "command line"
    kind: Mapped[str] = mapped_column(String(16))  # of actor: see `origin.py`
    address: Mapped[Code]  # the client's, empty where there is none
    act: Mapped[Code]  # package.publish, tenant.suspend, ...
    subject: Mapped[Line]  # package:<code>, tenant:<slug>, ...
    tenant_id: Mapped[Ref | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    hash: Mapped[str] = mapped_column(String(64))


class AuditHead(Base):
    """The one row that says where the chain ends: whoever locks it appends next."""

    __tablename__ = "audit_head"
    __table_args__ = (CheckConstraint("id = 1", name="there_is_one"),)
    id: Mapped[Id]
    number: Mapped[int] = mapped_column(BigInteger)  # of the last entry; 0 before the first
    hash: Mapped[str] = mapped_column(String(64))


class Verification(Base):
    """What one run of `flask verify` found: an empty list when every invariant holds."""

    __tablename__ = "verification"
    id: Mapped[Id]
    at: Mapped[Utc]
    findings: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
