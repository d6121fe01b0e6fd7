"""What was done about data that had been kept for long enough."""

from datetime import datetime

from sqlalchemy import BigInteger, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, Id, Utc, UtcDateTime


class Masking(Base):
    """One run that masked numbers older than `cutoff`; the next one begins where the latest finished one ended.

    Its id is drawn as it begins: what is reported from then on has larger ones.
    """

    __tablename__ = "masking"
    id: Mapped[Id]
    months: Mapped[int] = mapped_column(SmallInteger)  # what was to be kept
    cutoff: Mapped[Utc]
    started_at: Mapped[Utc]
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    records: Mapped[int] = mapped_column(BigInteger, default=0)  # rows that were masked, by where they are
    refusals: Mapped[int] = mapped_column(BigInteger, default=0)
    holds: Mapped[int] = mapped_column(BigInteger, default=0)
    reports: Mapped[int] = mapped_column(BigInteger, default=0)
