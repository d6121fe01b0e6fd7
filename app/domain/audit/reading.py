"""Read the audit trail."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.domain.audit.models import AuditEntry, Verification

CHUNK = 1_000  # rows read at once
VISITS = ("account.sign_in", "account.sign_in_refused", "account.sign_out", "permission.refuse")  # change nothing

# About drafts, which a tenant does not see.
NOT_FOR_TENANTS = ("invoice.accept", "invoice.add_line", "invoice.discard", "invoice.remove_line")


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """What to look for; what is empty or None is not asked. `act` is one act, or a group with its dot: `package.`."""

    actor: str = ""
    act: str = ""
    subject: str = ""
    tenant_id: int | None = None
    first_at: datetime | None = None
    end_at: datetime | None = None
    without: tuple[str, ...] = ()  # acts
    nameless: tuple[str, ...] = ()  # kinds of actors whose names the reader does not learn, so cannot look for


def matching(query: AuditQuery) -> Select[AuditEntry]:
    """The entries that fit, in no order yet."""
    statement = select(AuditEntry)
    for column, wanted in (
        (AuditEntry.actor, query.actor),
        (AuditEntry.subject, query.subject),
        (AuditEntry.tenant_id, query.tenant_id),
    ):
        if wanted not in ("", None):
            statement = statement.where(column == wanted)
    if query.act.endswith("."):
        # The character after the dot bounds the group, so that the index finds it.
        statement = statement.where(AuditEntry.act >= query.act, AuditEntry.act < f"{query.act[:-1]}/")
    elif query.act:
        statement = statement.where(AuditEntry.act == query.act)
    if query.first_at:
        statement = statement.where(AuditEntry.at >= query.first_at)
    if query.end_at:
        statement = statement.where(AuditEntry.at < query.end_at)
    if query.actor and query.nameless:
        statement = statement.where(AuditEntry.kind.not_in(query.nameless))
    return statement.where(AuditEntry.act.not_in(query.without)) if query.without else statement


def every(session: Session, query: AuditQuery) -> Iterator[AuditEntry]:
    """All that fit, newest first, read while they are used."""
    statement = matching(query).order_by(AuditEntry.at.desc(), AuditEntry.id.desc())
    yield from session.scalars(statement, execution_options={"yield_per": CHUNK})


def latest(session: Session, *, most: int = 8, subject: str = "") -> list[AuditEntry]:
    """The latest changes, of one subject (`package:gold`) when it is named, newest first. One statement."""
    statement = matching(AuditQuery(subject=subject, without=VISITS))
    return list(session.scalars(statement.order_by(AuditEntry.at.desc(), AuditEntry.id.desc()).limit(most)))


def last_verification(session: Session) -> Verification | None:
    """What the last run of `flask verify` found; None before the first."""
    return session.scalar(select(Verification).order_by(Verification.id.desc()).limit(1))
