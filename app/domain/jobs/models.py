"""The job table."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, Code, Id, Line, Utc, UtcDateTime


class Job(Base):
    """Something to do, written by the transaction that wants it and done by a worker, once.

    `key` makes asking twice ask once. A worker claims a job until `leased_until`; a job that keeps failing is dead
    at `dead_at` and stays for a person to see.
    """

    __tablename__ = "job"
    __table_args__ = (
        Index(
            "jobs_due",
            "run_at",
            "id",
            sqlite_where=text("done_at IS NULL AND dead_at IS NULL"),
            postgresql_where=text("done_at IS NULL AND dead_at IS NULL"),
        ),
        Index(
            "jobs_dead",
            "id",
            sqlite_where=text("dead_at IS NOT NULL"),
            postgresql_where=text("dead_at IS NOT NULL"),
        ),
    )
    id: Mapped[Id]
    kind: Mapped[Code]  # who does it: see the handlers
    key: Mapped[Line] = mapped_column(unique=True)
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[Utc]
    run_at: Mapped[Utc]  # not before
    attempts: Mapped[int] = mapped_column(default=0)
    leased_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    done_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    dead_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str] = mapped_column(Text, default="")
