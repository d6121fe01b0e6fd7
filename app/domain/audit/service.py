"""Write the audit trail."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.core.ids import new_id
from app.domain.audit.models import AuditEntry, Verification


def record(
    session: Session, actor: str, act: str, subject: str, *, now: datetime, tenant_id: int | None = None, **details: Any
) -> None:
    """Add one entry to the running transaction. `details` must be JSON and hold no secret."""
    session.add(
        AuditEntry(id=new_id(), at=now, actor=actor, act=act, subject=subject, tenant_id=tenant_id, details=details)
    )


def keep_verification(session: Session, findings: list[dict[str, Any]], *, now: datetime) -> None:
    """Note that every invariant was recounted at `now`, and what differed."""
    session.add(Verification(id=new_id(), at=now, findings=findings))
