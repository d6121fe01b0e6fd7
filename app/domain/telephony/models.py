"""Allocations."""

from datetime import datetime

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, Code, Id, Line, Ref, TenantId, Utc, UtcDateTime


class Allocation(Base):
    """One thing of an allocated resource, held until `released_at`. How many are held stands on the meter."""

    __tablename__ = "allocation"
    __table_args__ = (
        Index(
            "held_once",
            "tenant_id",
            "resource_code",
            "name",
            unique=True,
            sqlite_where=text("released_at IS NULL"),
            postgresql_where=text("released_at IS NULL"),
        ),
    )
    tenant_id: Mapped[TenantId]
    id: Mapped[Id]
    resource_code: Mapped[Code] = mapped_column(ForeignKey("resource.code"))
    name: Mapped[Line]  # an extension number, a DID in E.164, a name
    note: Mapped[Line] = mapped_column(default="")
    created_at: Mapped[Utc]
    created_by: Mapped[Line]
    released_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    released_by: Mapped[Line] = mapped_column(default="")


class Did(Base):
    """A DID that someone holds: one number belongs to one tenant of the installation. Gone once it is released."""

    __tablename__ = "did"
    __table_args__ = (ForeignKeyConstraint(["tenant_id", "allocation_id"], ["allocation.tenant_id", "allocation.id"]),)
    number: Mapped[str] = mapped_column(String(16), primary_key=True)  # E.164 with its plus
    tenant_id: Mapped[Ref]
    allocation_id: Mapped[Ref]
