"""Tenants and the names machines know them by."""

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import JSON, CheckConstraint, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, Id, Line, Ref, Utc, UtcDateTime

DEFAULT_THRESHOLDS = (50, 75, 90, 100)


class Tenant(Base):
    """A customer organisation."""

    __tablename__ = "tenant"
    __table_args__ = (CheckConstraint("status IN ('active', 'suspended')", name="known_status"),)
    id: Mapped[Id]
    slug: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[Line]
    domain: Mapped[str | None] = mapped_column(String(255))
    account_code: Mapped[str | None] = mapped_column(String(64))
    timezone: Mapped[str] = mapped_column(String(64))
    currency: Mapped[str] = mapped_column(String(3))
    locale: Mapped[str] = mapped_column(String(16), default="")  # a core.display.LOCALES
    units: Mapped[str] = mapped_column(String(16), default="")  # a core.display.UNITS
    country: Mapped[str] = mapped_column(String(2), default="")
    contact_name: Mapped[Line] = mapped_column(default="")
    contact_email: Mapped[Line] = mapped_column(default="")
    blocked_prefixes: Mapped[str] = mapped_column(Text, default="")  # on top of the package's
    status: Mapped[str] = mapped_column(String(16), default="active")
    created_at: Mapped[Utc]
    suspended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    thresholds: Mapped[list[int]] = mapped_column(JSON, default=lambda: list(DEFAULT_THRESHOLDS))  # percent of a limit

    @property
    def zone(self) -> ZoneInfo:
        """Its time zone."""
        return ZoneInfo(self.timezone)


class TenantName(Base):
    """A slug, PBX domain or account code in lower case: one key over all three, so no name is ambiguous."""

    __tablename__ = "tenant_name"
    __table_args__ = (CheckConstraint("kind IN ('slug', 'domain', 'account_code')", name="known_kind"),)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    tenant_id: Mapped[Ref] = mapped_column(ForeignKey("tenant.id"), index=True)
