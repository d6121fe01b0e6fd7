"""Invite people by mail; they choose their own name and password."""

from datetime import datetime

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from app.core.errors import Conflict, NotFound
from app.db import run_in_transaction
from app.domain.accounts import links, passwords, service as accounts
from app.domain.accounts.links import Purpose
from app.domain.accounts.models import Account, MailedLink
from app.domain.accounts.roles import Role
from app.domain.audit import service as audit


def invite(session: Session, tenant_id: int | None, email: str, role: Role, *, actor: str, now: datetime) -> MailedLink:
    """Invite somebody to the provider's staff, or to a tenant.

    Raises Invalid (`invalid_email`, `wrong_role`), and Conflict where the person is there or invited already
    (`email_taken`, `already_invited`). That somebody elsewhere has the address is told to its owner alone, who opens
    the link.
    """
    address = accounts.checked_email(email)
    accounts.check_role(role, is_staff=tenant_id is None)
    if session.scalar(
        select(Account.id).where(Account.email == address, Account.tenant_id.is_not_distinct_from(tenant_id))
    ):
        raise Conflict("email_taken", f"“{address}” already has an account.", field="email")
    if session.scalar(select(MailedLink.id).where(MailedLink.email == address, *_of(tenant_id), *links.is_open())):
        raise Conflict("already_invited", f"“{address}” is invited already; send that invitation again.", field="email")
    made = links.make(session, Purpose.INVITATION, address, tenant_id=tenant_id, role=role, asked_by=actor, now=now)
    _record(session, "invitation.send", made, actor, now, role=role)
    return made


def open_of(session: Session, tenant_id: int | None) -> list[MailedLink]:
    """Who was invited by this side and has not come yet, by address; those too old to be used included."""
    return list(session.scalars(select(MailedLink).where(*_of(tenant_id), *links.is_open()).order_by(MailedLink.email)))


def resend(session: Session, tenant_id: int | None, invitation_id: int, *, actor: str, now: datetime) -> MailedLink:
    """Send it once more with a new link and a new life; the old link opens nothing from now on.

    Raises NotFound, and Conflict (`invitation_over`) where it was accepted or withdrawn.
    """
    invitation = _get(session, tenant_id, invitation_id)
    if not links.renew(session, invitation, now=now):
        raise Conflict("invitation_over", f"The invitation of “{invitation.email}” was accepted or withdrawn.")
    _record(session, "invitation.resend", invitation, actor, now)
    return invitation


def withdraw(session: Session, tenant_id: int | None, invitation_id: int, *, actor: str, now: datetime) -> MailedLink:
    """Take it back: its link opens nothing from now on; doing it twice is doing it once. Raises NotFound."""
    invitation = _get(session, tenant_id, invitation_id)
    if links.withdraw(session, MailedLink.id == invitation_id, now=now):
        _record(session, "invitation.withdraw", invitation, actor, now)
    return invitation


def accept(session: Session, token: str, name: str, password: str, *, now: datetime) -> Account:
    """The account of whoever holds the link. Commits by itself, the password being hashed before.

    Raises NotFound (`link_over`), Invalid (field `new`), and Conflict (`email_taken`) where the address has come to an
    account meanwhile or belongs to one elsewhere.
    """
    email = links.find(session, Purpose.INVITATION, token, now=now).email
    password_hash = passwords.make_hash(password, email)
    session.rollback()

    def act(unit: Session) -> Account:
        used = links.use(unit, Purpose.INVITATION, token, now=now)
        role = Role(str(used.role))
        return accounts.add(unit, used.tenant_id, email, name, password_hash, role=role, actor=email, now=now)

    return run_in_transaction(act)


def _get(session: Session, tenant_id: int | None, invitation_id: int) -> MailedLink:
    found = session.scalar(select(MailedLink).where(MailedLink.id == invitation_id, *_of(tenant_id)))
    if found is None:
        raise NotFound("unknown_invitation", "There is no such invitation.")
    return found


def _of(tenant_id: int | None) -> tuple[ColumnElement[bool], ...]:
    return MailedLink.purpose == Purpose.INVITATION, MailedLink.tenant_id.is_not_distinct_from(tenant_id)


def _record(session: Session, act: str, invitation: MailedLink, actor: str, now: datetime, **details: str) -> None:
    subject = f"account:{invitation.email}"
    audit.record(session, actor, act, subject, now=now, tenant_id=invitation.tenant_id, **details)
