"""What tenants ask for where a package is not theirs to take: asked once, approved or declined with words."""

from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid, NotFound
from app.core.ids import new_id
from app.db import insert_new, rowcount
from app.domain.audit import service as audit
from app.domain.catalog.models import Package
from app.domain.changes.models import ChangeRequest
from app.domain.changes.quote import Effect
from app.domain.tenants.models import Tenant

MAX_WORDS = 1_000


def may(package: Package, act: str) -> bool:
    """Whether tenants may `change` to the package by themselves, or `ask` for it."""
    return package.status == "published" and package.public and package.revision.tenants_may == act


def ask(
    session: Session, tenant: Tenant, package: Package, effect: Effect, words: str, *, actor: str, now: datetime
) -> None:
    """Ask staff for the package. Raises Invalid, Conflict (`not_to_ask_for`, `asked_already`: one at a time)."""
    if not may(package, "ask"):
        raise Conflict("not_to_ask_for", f"{package.name} cannot be asked for here.")
    row = {
        "tenant_id": tenant.id,
        "id": new_id(),
        "package_id": package.id,
        "effect": effect,
        "status": "open",
        "words": _checked(words),
        "asked_at": now,
        "asked_by": actor,
        "answer": "",
        "decided_by": "",
    }
    if open_of(session, tenant.id) is not None:
        raise Conflict("asked_already", "You have asked already; the answer comes first.")
    insert_new(session, ChangeRequest, [row], [ChangeRequest.tenant_id, ChangeRequest.id])
    _note(session, tenant, "request.ask", actor, now, package=package.code)


def close(
    session: Session, tenant: Tenant, request_id: int, status: str, answer: str, *, actor: str, now: datetime
) -> None:
    """It is `approved`, `declined` or `withdrawn`, once. Raises Invalid, NotFound, Conflict (`already_decided`)."""
    closed = session.execute(
        update(ChangeRequest)
        .where(ChangeRequest.tenant_id == tenant.id, ChangeRequest.id == request_id, ChangeRequest.status == "open")
        .values(status=status, answer=_checked(answer), decided_at=now, decided_by=actor)
        .execution_options(synchronize_session=False)
    )
    if rowcount(closed) != 1:
        if session.get(ChangeRequest, (tenant.id, request_id)) is None:
            raise NotFound("unknown_request", "There is no such request.")
        raise Conflict("already_decided", "This request was decided meanwhile.")
    _note(session, tenant, f"request.{status}", actor, now)


def open_of(session: Session, tenant_id: int) -> ChangeRequest | None:
    """What the tenant has asked for and waits for."""
    return session.scalar(
        select(ChangeRequest).where(ChangeRequest.tenant_id == tenant_id, ChangeRequest.status == "open")
    )


def latest_of(session: Session, tenant_id: int) -> ChangeRequest | None:
    """The tenant's newest request."""
    return session.scalar(
        select(ChangeRequest)
        .where(ChangeRequest.tenant_id == tenant_id)
        .order_by(ChangeRequest.id.desc())
        .limit(1)
        .execution_options(populate_existing=True)
    )


def waiting(session: Session, most: int = 200) -> list[ChangeRequest]:
    """What staff has to decide, oldest first."""
    return list(
        session.scalars(
            select(ChangeRequest)
            .where(ChangeRequest.status == "open")
            .order_by(ChangeRequest.asked_at, ChangeRequest.id)
            .limit(most)
        )
    )


def count_waiting(session: Session) -> int:
    """How many requests staff has to decide."""
    return session.scalar(select(func.count()).select_from(ChangeRequest).where(ChangeRequest.status == "open")) or 0


def _checked(words: str) -> str:
    words = words.strip().replace("\0", "")
    if len(words) > MAX_WORDS:
        raise Invalid("too_long", f"At most {MAX_WORDS} characters.", field="words")
    return words


def _note(session: Session, tenant: Tenant, act: str, actor: str, now: datetime, **details: str) -> None:
    audit.record(session, actor, act, f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id, **details)
