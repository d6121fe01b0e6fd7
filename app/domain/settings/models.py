"""Settings by name, and logos by hash."""

from sqlalchemy import LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, Code, Utc


class Setting(Base):
    """One thing the provider chose; what has no row is as it comes."""

    __tablename__ = "setting"
    name: Mapped[Code] = mapped_column(primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class Logo(Base):
    """A picture that is or was the logo, as PNG. Never changed: documents may show it."""

    __tablename__ = "logo"
    hash: Mapped[str] = mapped_column(String(32), primary_key=True)
    png: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[Utc]
