"""Read the audit trail."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.audit.models import AuditEntry


def latest(session: Session, *, most: int = 8, subject: str = "") -> list[AuditEntry]:
    """The latest changes, of one subject (`package:gold`) when it is named, newest first. One statement."""
    statement = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(most)
    return list(session.scalars(statement.where(AuditEntry.subject == subject) if subject else statement))
