"""Links that go out by mail and open one thing once: an invitation, a new password, a new address.

A link is a row; its token is made when the mail is sent and stands in that mail alone. What is kept is the SHA-256.
"""

import hashlib
import secrets
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from app.core.errors import NotFound
from app.core.ids import new_id
from app.db import rowcount
from app.domain.accounts.models import Account, MailedLink
from app.domain.jobs import service as jobs

MAIL = "mail.link"  # a job: makes the token and sends it
NOTICE = "mail.account"  # a job: tells somebody what happened to their account
KEPT_FOR = timedelta(days=30)  # after the end of its life


class Purpose(StrEnum):
    """What a link opens."""

    INVITATION = "invitation"
    RESET = "reset"
    EMAIL = "email"


LIFE = {
    Purpose.INVITATION: timedelta(hours=72),
    Purpose.RESET: timedelta(hours=1),
    Purpose.EMAIL: timedelta(hours=24),
}


def make(
    session: Session,
    purpose: Purpose,
    email: str,
    *,
    account: Account | None = None,
    tenant_id: int | None = None,
    role: str | None = None,
    asked_by: str,
    now: datetime,
) -> MailedLink:
    """A link for whoever reads the mail of that address; the mail goes out through the job table."""
    link = MailedLink(
        id=new_id(),
        purpose=purpose,
        email=email,
        account_id=account.id if account else None,
        tenant_id=tenant_id,
        role=role,
        asked_by=asked_by,
        created_at=now,
        expires_at=now + LIFE[purpose],
    )
    session.add(link)
    session.flush()
    post(session, link, now=now)
    return link


def post(session: Session, link: MailedLink, *, now: datetime) -> None:
    """Ask for the link's mail, also once more."""
    jobs.enqueue(session, MAIL, f"{MAIL}/{link.id}/{new_id()}", {"link_id": link.id}, now=now)


def tell(session: Session, to: str, what: str, *, now: datetime, **about: str) -> None:
    """Ask for a mail about somebody's account: `what` names its words."""
    jobs.enqueue(session, NOTICE, f"{NOTICE}/{new_id()}", {"to": to, "what": what, "about": about}, now=now)


def arm(session: Session, link_id: int, *, now: datetime) -> tuple[MailedLink, str] | None:
    """The link and a token of 256 random bits in place of any it had before; None when it opens nothing any more."""
    token = secrets.token_urlsafe(32)
    armed = update(MailedLink).where(MailedLink.id == link_id, *_alive(now)).values(token_hash=_hash(token))
    link = session.scalar(armed.returning(MailedLink))
    return (link, token) if link else None


def find(session: Session, purpose: Purpose, token: str, *, now: datetime) -> MailedLink:
    """What the token opens. Raises NotFound (`link_over`) once it was used, withdrawn or is too old."""
    link = session.scalar(select(MailedLink).where(*_opened_by(purpose, token, now)))
    return link or _refuse()


def use(session: Session, purpose: Purpose, token: str, *, now: datetime) -> MailedLink:
    """As `find`, and it opens nothing from here on: of two at once, one comes first."""
    used = update(MailedLink).where(*_opened_by(purpose, token, now)).values(used_at=now)
    return session.scalar(used.returning(MailedLink)) or _refuse()


def renew(session: Session, link: MailedLink, *, now: datetime) -> bool:
    """Send an open link anew and for a new life; the old one opens nothing. False where it is not open."""
    expires_at = now + LIFE[Purpose(link.purpose)]
    renewed = update(MailedLink).where(MailedLink.id == link.id, *is_open())
    if not rowcount(session.execute(renewed.values(token_hash=None, expires_at=expires_at))):
        return False
    post(session, link, now=now)
    return True


def withdraw(session: Session, *which: ColumnElement[bool], now: datetime) -> int:
    """Close those of the links that are open; returns how many were."""
    return rowcount(session.execute(update(MailedLink).where(*which, *is_open()).values(withdrawn_at=now)))


def withdraw_all(session: Session, account: Account, *, now: datetime) -> None:
    """Close what was sent to or about this account."""
    place = MailedLink.tenant_id == account.tenant_id if account.tenant_id else MailedLink.tenant_id.is_(None)
    withdraw(session, MailedLink.account_id == account.id, now=now)
    withdraw(session, MailedLink.purpose == Purpose.INVITATION, MailedLink.email == account.email, place, now=now)


def is_open() -> tuple[ColumnElement[bool], ...]:
    """Neither used nor withdrawn; it may be too old."""
    return MailedLink.used_at.is_(None), MailedLink.withdrawn_at.is_(None)


def forget(session: Session, *, now: datetime) -> None:
    """Drop what opens nothing since long ago."""
    session.execute(delete(MailedLink).where(MailedLink.expires_at < now - KEPT_FOR))


def _alive(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return *is_open(), MailedLink.expires_at > now


def _opened_by(purpose: Purpose, token: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return MailedLink.purpose == purpose, MailedLink.token_hash == _hash(token), *_alive(now)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _refuse() -> MailedLink:
    raise NotFound("link_over", "This link was used before, was withdrawn or is too old.")
