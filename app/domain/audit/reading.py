"""Read the audit trail."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.audit.models import AuditEntry, Verification


def latest(session: Session, *, most: int = 8, subject: str = "") -> list[AuditEntry]:
    """The latest changes, of one subject (`package:gold`) when it is named, newest first. One statement."""
    statement = select(AuditEntry).order_by(AuditEntry.at.desc(), AuditEntry.id.desc()).limit(most)
    return list(session.scalars(statement.where(AuditEntry.subject == subject) if subject else statement))


def last_verification(session: Session) -> Verification | None:
    """What the last run of `flask verify` found; None before the first."""
    return session.scalar(select(Verification).order_by(Verification.id.desc()).limit(1))
